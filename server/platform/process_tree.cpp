#include "platform/process_tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <charconv>
#include <cstring>
#include <mutex>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/unique_fd.hpp"

namespace sandbox {
namespace {

struct ProcessInfo {
    pid_t pid = 0;
    pid_t parent = 0;
    pid_t group = 0;
    pid_t session = 0;
    char state = '?';
    std::uint64_t threads = 0;
    std::uint64_t start = 0;

    // A leader thread that has ended is a zombie already, while other threads still hold files and ports.
    bool lives() const { return (state != 'Z' && state != 'X') || threads > 1; }
};

bool read_all(const std::string& path, std::string& out) {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return false;
    out.clear();
    char buffer[8192];
    ssize_t count;
    while ((count = ::read(fd.get(), buffer, sizeof buffer)) > 0)
        out.append(buffer, static_cast<std::size_t>(count));
    return count == 0;
}

// Fields of /proc/<pid>/stat (proc(5)), counted from behind the command name, which may hold anything but the
// last ')'.
bool read_stat(pid_t pid, ProcessInfo& info) {
    std::string text;
    if (!read_all("/proc/" + std::to_string(pid) + "/stat", text)) return false;
    std::size_t name_end = text.rfind(')');
    if (name_end == std::string::npos || name_end + 4 > text.size()) return false;
    info.pid = pid;
    info.state = text[name_end + 2];
    const char* at = text.data() + name_end + 3;
    const char* end = text.data() + text.size();
    std::uint64_t fields[20] = {};  // ppid [0], pgrp [1], session [2], num_threads [16], starttime [18]
    for (std::uint64_t& field : fields) {
        while (at < end && *at == ' ') ++at;
        bool negative = at < end && *at == '-';
        if (negative) ++at;
        auto [next, ec] = std::from_chars(at, end, field);
        if (ec != std::errc()) break;
        at = next;
    }
    info.parent = static_cast<pid_t>(fields[0]);
    info.group = static_cast<pid_t>(fields[1]);
    info.session = static_cast<pid_t>(fields[2]);
    info.threads = fields[16];
    info.start = fields[18];
    return true;
}

bool has_marker(pid_t pid, std::string_view entry) {
    std::string text;
    if (!read_all("/proc/" + std::to_string(pid) + "/environ", text)) return false;
    std::string_view environment(text);
    while (!environment.empty()) {
        std::size_t end = std::min(environment.find('\0'), environment.size());
        if (environment.substr(0, end) == entry) return true;
        environment.remove_prefix(std::min(end + 1, environment.size()));
    }
    return false;
}

// Descriptors held back for looking at /proc when all others are used up: a kill must work then, too.
class DescriptorReserve {
  public:
    DescriptorReserve() { fill(); }
    // Frees them while `this` scan needs them, one scan at a time.
    class Loan {
      public:
        explicit Loan(DescriptorReserve& reserve) : reserve_(reserve), lock_(reserve.mutex_) {
            for (UniqueFd& fd : reserve.fds_) fd.reset();
        }
        ~Loan() { reserve_.fill(); }
        Loan(const Loan&) = delete;
        Loan& operator=(const Loan&) = delete;

      private:
        DescriptorReserve& reserve_;
        std::lock_guard<std::mutex> lock_;
    };

  private:
    void fill() {
        for (UniqueFd& fd : fds_) {
            fd = UniqueFd(::open("/", O_PATH | O_CLOEXEC));
            // Made before main: a standard descriptor that was closed at our start is not ours to take.
            if (fd.get() < 4) fd = UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 4));
        }
    }
    std::mutex mutex_;
    std::array<UniqueFd, 4> fds_;
};
DescriptorReserve g_reserve;

// Absent where there is no /proc to read.
std::optional<std::vector<ProcessInfo>> all_processes() {
    std::vector<ProcessInfo> processes;
    DIR* directory = ::opendir("/proc");
    if (directory == nullptr) return std::nullopt;
    while (const dirent* entry = ::readdir(directory)) {
        if (std::isdigit(static_cast<unsigned char>(entry->d_name[0])) == 0) continue;
        pid_t pid = 0;
        std::from_chars(entry->d_name, entry->d_name + std::strlen(entry->d_name), pid);
        ProcessInfo info;
        if (pid > 0 && read_stat(pid, info)) processes.push_back(info);
    }
    ::closedir(directory);
    if (processes.empty()) return std::nullopt;  // Not even ourselves: /proc is an empty directory.
    return processes;
}

std::vector<ProcessInfo> members_of(const TreeId& tree, const Cgroup* cgroup,
                                    const std::vector<ProcessInfo>& processes) {
    std::unordered_set<pid_t> in_cgroup;
    if (cgroup != nullptr) {
        for (pid_t pid : cgroup->processes()) in_cgroup.insert(pid);
    }
    std::unordered_map<pid_t, const ProcessInfo*> by_pid;
    for (const ProcessInfo& process : processes) by_pid.emplace(process.pid, &process);
    // A number freed by the reaped leader may now lead somebody else's session.
    bool session_counts = !tree.leader_reaped || !by_pid.contains(tree.leader);
    const std::string entry = std::string(kMarkerVariable) + "=" + tree.marker;
    const pid_t self = ::getpid();
    // A session's number is not given to another process while anybody is in the session.
    std::unordered_set<pid_t> sessions;
    for (const auto& [pid, start] : tree.known) {
        auto found = by_pid.find(pid);
        if (found == by_pid.end() || found->second->start == start) sessions.insert(pid);
    }

    enum class Verdict : char { unknown, member, stranger };
    std::unordered_map<pid_t, Verdict> verdicts;
    std::vector<ProcessInfo> members;
    std::vector<pid_t> chain;
    for (const ProcessInfo& process : processes) {
        // Up the parent links until one is judged or the top is reached; then all on the way get that
        // verdict.
        chain.clear();
        Verdict verdict = Verdict::unknown;
        for (pid_t at = process.pid; verdict == Verdict::unknown; at = by_pid.at(at)->parent) {
            auto found = by_pid.find(at);
            if (found == by_pid.end() || at == self || chain.size() > 100'000) {
                verdict = Verdict::stranger;
                break;
            }
            if (Verdict known = verdicts[at]; known != Verdict::unknown) {
                verdict = known;
                break;
            }
            chain.push_back(at);
            const ProcessInfo& info = *found->second;
            bool is_leader = at == tree.leader && !tree.leader_reaped;
            if (is_leader || in_cgroup.contains(at) || sessions.contains(info.session) ||
                tree.known.contains({at, info.start}) || (session_counts && info.session == tree.leader) ||
                has_marker(at, entry)) {
                verdict = Verdict::member;
            }
        }
        for (pid_t pid : chain) verdicts[pid] = verdict;
        if (verdict == Verdict::member && process.pid != self) members.push_back(process);
    }
    return members;
}

// By pidfd where the kernel has them, so that a number recycled since the scan is not hit.
void send(const ProcessInfo& process, int signal) {
#if defined(SYS_pidfd_open) && defined(SYS_pidfd_send_signal)
    UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
    if (pidfd) {
        ProcessInfo now;
        if (read_stat(process.pid, now) && now.start == process.start) {
            ::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0);
        }
        return;
    }
#endif
    ::kill(process.pid, signal);
}

}  // namespace

std::size_t signal_tree(TreeId& tree, const Cgroup* cgroup, int signal, std::set<ProcessKey>& already) {
    DescriptorReserve::Loan descriptors(g_reserve);
    std::optional<std::vector<ProcessInfo>> processes = all_processes();
    if (!processes) {
        // Blind: all that can be reached is the leader's process group.
        if (tree.leader_reaped || ::kill(-tree.leader, 0) != 0) return 0;
        if (signal != 0) ::kill(-tree.leader, signal);
        return 1;
    }
    std::size_t living = 0;
    for (const ProcessInfo& process : members_of(tree, cgroup, *processes)) {
        if (!process.lives()) continue;
        ++living;
        tree.known.emplace(process.pid, process.start);
        if (signal == SIGTERM && tree.group_termed && process.group == tree.leader) continue;
        if (signal == 0 || !already.emplace(process.pid, process.start).second) continue;
        send(process, signal);
        if (signal == SIGTERM) send(process, SIGCONT);
    }
    return living;
}

std::size_t signal_descendants(int signal, pid_t spared, std::set<ProcessKey>* already) {
    DescriptorReserve::Loan descriptors(g_reserve);
    std::optional<std::vector<ProcessInfo>> processes = all_processes();
    if (!processes) return 0;
    std::unordered_map<pid_t, const ProcessInfo*> by_pid;
    for (const ProcessInfo& process : *processes) by_pid.emplace(process.pid, &process);
    const pid_t self = ::getpid();
    std::size_t living = 0;
    for (const ProcessInfo& process : *processes) {
        if (process.pid == self || !process.lives()) continue;
        std::size_t steps = 0;
        pid_t at = process.pid;
        while (at != self && at != spared && by_pid.contains(at) && ++steps < 100'000)
            at = by_pid.at(at)->parent;
        if (at != self) continue;
        ++living;
        if (signal == 0) continue;
        if (already != nullptr && !already->emplace(process.pid, process.start).second) continue;
        send(process, signal);
        if (signal == SIGTERM) send(process, SIGCONT);
    }
    return living;
}

}  // namespace sandbox
