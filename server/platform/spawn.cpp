#include "platform/spawn.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <span>
#include <utility>

#include "base/unique_fd.hpp"
#include "platform/spawn_child.hpp"

namespace sandbox {
namespace {

constexpr std::size_t kLaunchStack = 16 * 1024;
constexpr std::size_t kSpareLaunches = 4;

std::vector<char*> pointers_to(const std::vector<std::string>& strings) {
    std::vector<char*> pointers;
    pointers.reserve(strings.size() + 1);
    for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
    pointers.push_back(nullptr);
    return pointers;
}

// Pool threads come and go, so theirs goes with them.
class ReportPage {
  public:
    ReportPage()
        : page_(::mmap(nullptr, sizeof(ChildReport), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                       0)) {}
    ~ReportPage() {
        if (page_ != MAP_FAILED) ::munmap(page_, sizeof(ChildReport));
    }
    ReportPage(const ReportPage&) = delete;
    ReportPage& operator=(const ReportPage&) = delete;
    volatile ChildReport* slot() const {
        return page_ == MAP_FAILED ? nullptr : static_cast<volatile ChildReport*>(page_);
    }

  private:
    void* page_;
};

volatile ChildReport* report_slot() {
    thread_local ReportPage page;
    return page.slot();
}

Error start_error(const SpawnSpec& spec, Stage stage, int error) {
    switch (stage) {
        case Stage::setsid:
            return sys_error("setsid", error);
        case Stage::tty:
            return sys_error("set controlling terminal", error);
        case Stage::stdio:
            return sys_error("connect standard streams", error);
        case Stage::rlimit:
            return sys_error("set RLIMIT_NOFILE", error);
        case Stage::groups:
            return sys_error("setgroups", error);
        case Stage::gid:
            return sys_error("setgid", error);
        case Stage::uid:
            return sys_error("setuid", error);
        case Stage::chdir:
            return sys_error("chdir " + spec.cwd, error);
        case Stage::given_up:
            return Error{Errc::cancelled, "given up", error};
        default:
            return sys_error("exec " + spec.program, error);
    }
}

bool has_nul(const std::vector<std::string>& strings) {
    for (const std::string& text : strings) {
        if (text.find('\0') != std::string::npos) return true;
    }
    return false;
}

Result<> check(const SpawnSpec& spec) {
    if (has_nul(spec.argv) || spec.program.find('\0') != std::string::npos) {
        return Error{Errc::invalid_argument, "exec: argument contains NUL", EINVAL};
    }
    if (has_nul(spec.env))
        return Error{Errc::invalid_argument, "exec: environment variable contains NUL", EINVAL};
    if (spec.cwd.find('\0') != std::string::npos) return sys_error("chdir", EINVAL);
    return Result<>();
}

// The plan points into `spec`, `argv` and `envp`.
ChildPlan make_plan(const SpawnSpec& spec, const std::vector<char*>& argv, const std::vector<char*>& envp,
                    volatile ChildReport* report) {
    ChildPlan plan{};
    plan.program = spec.program.c_str();
    plan.argv = argv.data();
    plan.envp = envp.data();
    plan.cwd = spec.cwd.empty() ? nullptr : spec.cwd.c_str();
    plan.given_up = spec.given_up;
    plan.fds[0] = spec.stdin_fd;
    plan.fds[1] = spec.stdout_fd;
    plan.fds[2] = spec.stderr_fd;
    plan.fds[3] = spec.extra_fd;
    plan.new_session = spec.new_session;
    plan.controlling_tty = spec.controlling_tty;
    if (spec.nice) {
        plan.set_nice = true;
        plan.nice = *spec.nice;
    }
    if (spec.oom_score_adj != 0) {
        std::string text = std::to_string(spec.oom_score_adj);
        std::memcpy(plan.oom_text, text.c_str(), std::min(text.size() + 1, sizeof plan.oom_text));
    }
    if (spec.user) {
        plan.change_user = true;
        plan.uid = spec.user->uid;
        plan.gid = spec.user->gid;
        plan.groups = spec.user->groups.data();
        plan.group_count = spec.user->groups.size();
    }
    if (spec.nofile_soft != 0 && ::getrlimit(RLIMIT_NOFILE, &plan.nofile) == 0) {
        plan.nofile.rlim_cur = std::min<rlim_t>(spec.nofile_soft, plan.nofile.rlim_max);
        plan.set_nofile = true;
    }
    report->stage = Stage::none;
    report->error = 0;
    plan.report = report;
    return plan;
}

}  // namespace

Result<pid_t> spawn(const SpawnSpec& spec, bool* in_cgroup) {
    if (Result<> good = check(spec); !good) return good.error();
    std::vector<char*> argv = pointers_to(spec.argv);
    std::vector<char*> envp = pointers_to(spec.env);
    volatile ChildReport* report = report_slot();
    if (report == nullptr) return sys_error("mmap", ENOMEM);
    ChildPlan plan = make_plan(spec, argv, envp, report);
    bool joined = false;
    long pid = clone_child(plan, spec.cgroup_fd, nullptr, joined);
    if (in_cgroup != nullptr) *in_cgroup = joined;
    if (pid < 0) return sys_error("fork", static_cast<int>(-pid));
    if (report->stage != Stage::none) {
        // The Reaper may take this corpse first; either way it is gone.
        int status;
        while (::waitpid(static_cast<pid_t>(pid), &status, 0) < 0 && errno == EINTR) {
        }
        return start_error(spec, report->stage, report->error);
    }
    return static_cast<pid_t>(pid);
}

// One start: what the child uses. Its memory is shared with the child also where the rest is a copy.
struct Launcher::Launch {
    alignas(16) std::array<char, kLaunchStack> stack;
    SpawnSpec spec;
    std::vector<char*> argv;
    std::vector<char*> envp;
    ChildPlan plan{};
    ChildReport report{};
    int busy = 0;
    pid_t pid = 0;

    bool left_memory() { return __atomic_load_n(&busy, __ATOMIC_ACQUIRE) == 0; }
};

Launcher::Launcher() = default;

Launcher::~Launcher() {
    for (Launch* launch : spare_) destroy(launch);
    for (Launch* launch : under_way_) {
        if (launch->left_memory()) destroy(launch);  // Else it stays: the child is at it.
    }
}

void Launcher::destroy(Launch* launch) {
    launch->~Launch();
    ::munmap(launch, sizeof(Launch));
}

Launcher::Launch* Launcher::take() {
    // Those whose child runs its program by now. A failure is kept for ended().
    std::erase_if(under_way_, [this](Launch* launch) {
        if (!launch->left_memory() || launch->report.stage != Stage::none) return false;
        recycle(launch);
        return true;
    });
    if (!spare_.empty()) {
        Launch* launch = spare_.back();
        spare_.pop_back();
        return launch;
    }
    void* memory = ::mmap(nullptr, sizeof(Launch), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? nullptr : new (memory) Launch;
}

void Launcher::recycle(Launch* launch) {
    launch->spec = SpawnSpec();
    if (spare_.size() < kSpareLaunches) {
        spare_.push_back(launch);
    } else {
        destroy(launch);
    }
}

Result<pid_t> Launcher::launch(SpawnSpec spec, bool* in_cgroup) {
    if (Result<> good = check(spec); !good) return good.error();
    Launch* launch = take();
    if (launch == nullptr) return sys_error("mmap", ENOMEM);
    launch->spec = std::move(spec);
    launch->argv = pointers_to(launch->spec.argv);
    launch->envp = pointers_to(launch->spec.env);
    launch->plan = make_plan(launch->spec, launch->argv, launch->envp, &launch->report);
    launch->busy = 1;
    const Beside beside{launch->stack, &launch->busy};
    bool joined = false;
    long pid = clone_child(launch->plan, launch->spec.cgroup_fd, &beside, joined);
    if (in_cgroup != nullptr) *in_cgroup = joined;
    if (pid < 0) {
        recycle(launch);
        return sys_error("fork", static_cast<int>(-pid));
    }
    launch->pid = static_cast<pid_t>(pid);
    under_way_.push_back(launch);
    return launch->pid;
}

std::optional<Error> Launcher::ended(pid_t pid) {
    auto found = std::find_if(under_way_.begin(), under_way_.end(),
                              [pid](const Launch* launch) { return launch->pid == pid; });
    if (found == under_way_.end()) return std::nullopt;
    Launch* launch = *found;
    under_way_.erase(found);
    std::optional<Error> failure;
    if (launch->report.stage != Stage::none)
        failure = start_error(launch->spec, launch->report.stage, launch->report.error);
    recycle(launch);
    return failure;
}

bool set_oom_score_of_executed(pid_t child, int score) {
    auto executable_of = [](const std::string& process) {
        std::array<char, 4096> text;  // PATH_MAX
        const std::string link = "/proc/" + process + "/exe";
        const ssize_t length = ::readlink(link.c_str(), text.data(), text.size());
        return std::string(text.data(), static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
    };
    const std::string name = std::to_string(child);
    if (executable_of(name) == executable_of("self")) return false;
    UniqueFd file(::open(("/proc/" + name + "/oom_score_adj").c_str(), O_WRONLY | O_CLOEXEC));
    const std::string text = std::to_string(score);
    // Between its new executable and its new owner in /proc there is a moment when only root may.
    return file && ::write(file.get(), text.data(), text.size()) > 0;
}

Result<std::string> find_program(const std::string& name, const std::string& path, const std::string& cwd) {
    if (name.empty()) return sys_error("exec", ENOENT);
    if (name.find('/') != std::string::npos) return name;
    int failure = ENOENT;
    std::size_t begin = 0;
    while (begin <= path.size()) {
        std::size_t end = std::min(path.find(':', begin), path.size());
        std::string candidate = path.substr(begin, end - begin);
        begin = end + 1;
        candidate = candidate.empty() ? "./" + name : candidate + "/" + name;
        std::string probe = candidate[0] == '/' || cwd.empty() ? candidate : cwd + "/" + candidate;
        struct stat info {};
        if (::stat(probe.c_str(), &info) != 0) continue;
        if (!S_ISREG(info.st_mode)) continue;
        if (::access(probe.c_str(), X_OK) == 0) return candidate;
        failure = EACCES;
    }
    if (failure == ENOENT)
        return Error{Errc::not_found, "exec " + name + ": executable file not found in PATH", ENOENT};
    return sys_error("exec " + name, failure);
}

}  // namespace sandbox
