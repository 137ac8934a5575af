#include "platform/spawn.hpp"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace sandbox {
namespace {

#if defined(__SANITIZE_THREAD__)
// ThreadSanitizer's runtime state must not be shared with a child, so it gets its own copy of the memory.
constexpr unsigned long kShareMemory = 0;
#else
constexpr unsigned long kShareMemory = CLONE_VM;
#endif

// Signals that we ignore and a command must not (see platform/signals). Handlers are reset by execve itself.
constexpr int kResetSignals[] = {SIGPIPE, SIGTTIN, SIGTTOU, SIGTSTP, SIGHUP, SIGINT, SIGQUIT, SIGCHLD};

enum class Stage : int { none, setsid, tty, stdio, rlimit, groups, gid, uid, chdir, exec };

// Shared with the child also where its memory is a copy.
struct ChildReport {
    Stage stage;
    int error;
};

// Everything that the child reads: plain data, complete before it exists.
struct ChildPlan {
    const char* program;
    char* const* argv;
    char* const* envp;
    const char* cwd;
    int fds[4];
    int oom_fd_mode;  // 0: leave
    char oom_text[8];
    bool new_session;
    bool controlling_tty;
    bool change_user;
    uid_t uid;
    gid_t gid;
    const gid_t* groups;
    std::size_t group_count;
    rlimit nofile;
    bool set_nofile;
    volatile ChildReport* report;
};

// The kernel's own struct sigaction, for rt_sigaction(2) without libc.
struct KernelSigaction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)();
    unsigned long mask;
};

#define SANDBOX_RAW [[gnu::noinline]] __attribute__((no_sanitize("address", "thread", "undefined")))

// Async-signal-safe, allocation-free and without libc wrappers that keep state: in the usual mode this runs
// in our own memory while the parent's thread is suspended.
SANDBOX_RAW long raw(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
#else
#error "spawn: the clone entry is written for x86-64 and arm64"
#endif
}

template <class T>
SANDBOX_RAW long address(T* pointer) {
    return static_cast<long>(reinterpret_cast<std::uintptr_t>(pointer));
}

[[noreturn]] SANDBOX_RAW void fail(const ChildPlan& plan, Stage stage, long negative_errno) {
    plan.report->stage = stage;
    plan.report->error = static_cast<int>(-negative_errno);
    for (;;) raw(SYS_exit_group, 127);
}

SANDBOX_RAW void raise_oom_score(const ChildPlan& plan) {
    static constexpr char kPath[] = "/proc/self/oom_score_adj";
    long fd = raw(SYS_openat, AT_FDCWD, address(kPath), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    long length = 0;
    while (plan.oom_text[length] != '\0') ++length;
    raw(SYS_write, fd, address(plan.oom_text), length);
    raw(SYS_close, fd);
}

// Moves the four sources onto 0..3. One that is a target itself, though not its own, moves out of the way
// first.
SANDBOX_RAW void place_descriptors(const ChildPlan& plan) {
    int sources[4];
    for (int target = 0; target < 4; ++target) {
        sources[target] = plan.fds[target];
        if (sources[target] < 0 || sources[target] > 3 || sources[target] == target) continue;
        long moved = raw(SYS_fcntl, sources[target], F_DUPFD_CLOEXEC, 4);
        if (moved < 0) fail(plan, Stage::stdio, moved);
        sources[target] = static_cast<int>(moved);
    }
    for (int target = 0; target < 4; ++target) {
        int source = sources[target];
        if (source < 0) continue;
        long result =
            source == target ? raw(SYS_fcntl, source, F_SETFD, 0) : raw(SYS_dup3, source, target, 0);
        if (result < 0) fail(plan, Stage::stdio, result);
    }
    int first_closed = plan.fds[3] >= 0 ? 4 : 3;
#ifdef SYS_close_range
    if (raw(SYS_close_range, first_closed, ~0U, 0) == 0) return;
#endif
    // An old kernel: all of ours are close-on-exec anyway.
}

[[noreturn]] SANDBOX_RAW void run_child(const ChildPlan& plan) {
    KernelSigaction dispose{};
    dispose.handler = SIG_DFL;
    for (int signal : kResetSignals) raw(SYS_rt_sigaction, signal, address(&dispose), 0, 8);

    long result = 0;
    if (plan.new_session && (result = raw(SYS_setsid)) < 0) fail(plan, Stage::setsid, result);
    if (plan.controlling_tty && (result = raw(SYS_ioctl, plan.fds[0], TIOCSCTTY, 0)) < 0)
        fail(plan, Stage::tty, result);
    if (plan.oom_text[0] != '\0') raise_oom_score(plan);
    if (plan.set_nofile && (result = raw(SYS_prlimit64, 0, RLIMIT_NOFILE, address(&plan.nofile), 0)) < 0) {
        fail(plan, Stage::rlimit, result);
    }
    if (plan.change_user) {
        result = raw(SYS_setgroups, static_cast<long>(plan.group_count), address(plan.groups));
        if (result < 0) fail(plan, Stage::groups, result);
        if ((result = raw(SYS_setresgid, plan.gid, plan.gid, plan.gid)) < 0) fail(plan, Stage::gid, result);
        if ((result = raw(SYS_setresuid, plan.uid, plan.uid, plan.uid)) < 0) fail(plan, Stage::uid, result);
    }
    if (plan.cwd != nullptr && (result = raw(SYS_chdir, address(plan.cwd))) < 0)
        fail(plan, Stage::chdir, result);
    place_descriptors(plan);

    unsigned long no_signals = 0;
    raw(SYS_rt_sigprocmask, SIG_SETMASK, address(&no_signals), 0, 8);
    result = raw(SYS_execve, address(plan.program), address(plan.argv), address(plan.envp));
    fail(plan, Stage::exec, result);
}

// Returns in the parent only. The child goes on in this frame and below it, which is why nothing is returned
// from in the child: the parent, suspended until execve or exit, resumes on the same stack.
SANDBOX_RAW long clone_child(const ChildPlan& plan, int cgroup_fd) {
    unsigned long flags = CLONE_VFORK | kShareMemory;
    if (cgroup_fd >= 0) {
        clone_args arguments{};
        arguments.flags = flags | CLONE_INTO_CGROUP;
        arguments.exit_signal = SIGCHLD;
        arguments.cgroup = static_cast<unsigned>(cgroup_fd);
        long result;
#if defined(__x86_64__)
        __asm__ volatile("syscall"
                         : "=a"(result)
                         : "a"(SYS_clone3), "D"(&arguments), "S"(sizeof arguments)
                         : "rcx", "r11", "memory");
#else
        register long x8 __asm__("x8") = SYS_clone3;
        register long x0 __asm__("x0") = address(&arguments);
        register long x1 __asm__("x1") = sizeof arguments;
        __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
        result = x0;
#endif
        if (result == 0) run_child(plan);
        if (result > 0) return result;
        // Refused (seccomp, an old kernel, a cgroup that is gone): born in ours instead.
    }
    long result;
#if defined(__x86_64__)
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_clone), "D"(flags | SIGCHLD), "S"(0L), "d"(0L), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
#else
    register long x8 __asm__("x8") = SYS_clone;
    register long x0 __asm__("x0") = static_cast<long>(flags | SIGCHLD);
    register long x1 __asm__("x1") = 0;
    register long x2 __asm__("x2") = 0;
    register long x3 __asm__("x3") = 0;
    register long x4 __asm__("x4") = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    result = x0;
#endif
    if (result == 0) run_child(plan);
    return result;
}

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

}  // namespace

Result<pid_t> spawn(const SpawnSpec& spec) {
    if (has_nul(spec.argv) || spec.program.find('\0') != std::string::npos) {
        return Error{Errc::invalid_argument, "exec: argument contains NUL", EINVAL};
    }
    if (has_nul(spec.env))
        return Error{Errc::invalid_argument, "exec: environment variable contains NUL", EINVAL};
    if (spec.cwd.find('\0') != std::string::npos) return sys_error("chdir", EINVAL);

    std::vector<char*> argv = pointers_to(spec.argv);
    std::vector<char*> envp = pointers_to(spec.env);
    ChildPlan plan{};
    plan.program = spec.program.c_str();
    plan.argv = argv.data();
    plan.envp = envp.data();
    plan.cwd = spec.cwd.empty() ? nullptr : spec.cwd.c_str();
    plan.fds[0] = spec.stdin_fd;
    plan.fds[1] = spec.stdout_fd;
    plan.fds[2] = spec.stderr_fd;
    plan.fds[3] = spec.extra_fd;
    plan.new_session = spec.new_session;
    plan.controlling_tty = spec.controlling_tty;
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
    volatile ChildReport* report = report_slot();
    if (report == nullptr) return sys_error("mmap", ENOMEM);
    report->stage = Stage::none;
    report->error = 0;
    plan.report = report;

    // A signal handler must not run in the child while it shares our memory.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    long pid = clone_child(plan, spec.cgroup_fd);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);

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
