#include "platform/process_tree.hpp"

#include <dirent.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/unique_fd.hpp"
#include "platform/descriptor_reserve.hpp"

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

enum class Look : char {
    seen,
    gone,     // it has ended, or is not ours to look at
    unknown,  // no descriptor, no memory: another time it may be seen
};

Look look_at(pid_t pid, const char* file, std::string& text) {
    switch (read_whole("/proc/" + std::to_string(pid) + "/" + file, text)) {
        case 0:
            return Look::seen;
        case ENOENT:
        case ESRCH:
        case EACCES:
        case EPERM:
            return Look::gone;
        default:
            return Look::unknown;
    }
}

// Fields of /proc/<pid>/stat (proc(5)), counted from behind the command name, which may hold anything but the
// last ')'.
Look read_stat(pid_t pid, ProcessInfo& info) {
    std::string text;
    if (Look look = look_at(pid, "stat", text); look != Look::seen) return look;
    std::size_t name_end = text.rfind(')');
    if (name_end == std::string::npos || name_end + 4 > text.size()) return Look::gone;
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
    return Look::seen;
}

// seen: it has the marker. gone: it has none, or not any more, or keeps it from us.
Look look_for_marker(pid_t pid, std::string_view entry) {
    std::string text;
    if (Look look = look_at(pid, "environ", text); look != Look::seen) return look;
    std::string_view environment(text);
    while (!environment.empty()) {
        std::size_t end = std::min(environment.find('\0'), environment.size());
        if (environment.substr(0, end) == entry) return Look::seen;
        environment.remove_prefix(std::min(end + 1, environment.size()));
    }
    return Look::gone;
}

// What there is to be seen in /proc.
struct Scan {
    bool blind = false;      // there is no /proc to read
    bool complete = true;    // nobody was left out
    bool all_listed = true;  // else who is in neither of the next two may live, too
    std::vector<ProcessInfo> processes;
    std::unordered_set<pid_t> unknown;
};

Scan all_processes() {
    Scan scan;
    std::vector<pid_t> pids;
    const int error = list_directory("/proc", [&pids](const dirent64& entry) {
        if (std::isdigit(static_cast<unsigned char>(entry.d_name[0])) == 0) return;
        pid_t pid = 0;
        std::from_chars(entry.d_name, entry.d_name + std::strlen(entry.d_name), pid);
        if (pid > 0) pids.push_back(pid);
    });
    scan.blind = error == ENOENT || error == ENOTDIR || error == EACCES || error == EPERM;
    scan.all_listed = error == 0;
    for (pid_t pid : pids) {
        ProcessInfo info;
        const Look look = read_stat(pid, info);
        if (look == Look::seen) scan.processes.push_back(info);
        if (look == Look::unknown) scan.unknown.insert(pid);
    }
    scan.complete = scan.all_listed && scan.unknown.empty();
    // Not even ourselves: /proc is an empty directory.
    if (scan.complete && scan.processes.empty()) scan.blind = true;
    return scan;
}

// Clears scan.complete when it cannot tell of somebody whether they are one.
std::vector<ProcessInfo> members_of(const TreeId& tree, const Cgroup* cgroup, Scan& scan) {
    const std::vector<ProcessInfo>& processes = scan.processes;
    std::unordered_set<pid_t> in_cgroup;
    if (cgroup != nullptr) {
        std::optional<std::vector<pid_t>> listed = cgroup->processes();
        if (listed) in_cgroup.insert(listed->begin(), listed->end());
        if (!listed) scan.complete = false;
    }
    std::unordered_map<pid_t, const ProcessInfo*> by_pid;
    for (const ProcessInfo& process : processes) by_pid.emplace(process.pid, &process);
    auto nobody_has = [&](pid_t pid) {
        return scan.all_listed && !by_pid.contains(pid) && !scan.unknown.contains(pid);
    };
    // A number freed by the reaped leader may now lead somebody else's session.
    bool session_counts = !tree.leader_reaped || nobody_has(tree.leader);
    const std::string entry = std::string(kMarkerVariable) + "=" + tree.marker;
    const pid_t self = ::getpid();
    // A session's number is not given to another process while anybody is in the session.
    std::unordered_set<pid_t> sessions;
    for (const auto& [pid, start] : tree.known) {
        auto found = by_pid.find(pid);
        const bool same = found != by_pid.end() && found->second->start == start;
        if (same || nobody_has(pid)) sessions.insert(pid);
    }

    enum class Verdict : char { unknown, member, stranger };
    std::unordered_map<pid_t, Verdict> verdicts;
    std::vector<ProcessInfo> members;
    std::vector<pid_t> chain;
    for (const ProcessInfo& process : processes) {
        // Up the parent links until one is judged or the top is reached; then all on the way get that
        // verdict.
        chain.clear();
        bool unsure = false;
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
                tree.known.contains({at, info.start}) || (session_counts && info.session == tree.leader)) {
                verdict = Verdict::member;
                continue;
            }
            const Look marker = look_for_marker(at, entry);
            if (marker == Look::seen) verdict = Verdict::member;
            if (marker == Look::unknown) unsure = true;
        }
        if (unsure && verdict == Verdict::stranger) scan.complete = false;
        for (pid_t pid : chain) verdicts[pid] = verdict;
        if (verdict == Verdict::member && process.pid != self) members.push_back(process);
    }
    return members;
}

// By pidfd where the kernel has them, so that a number recycled since the scan is not hit. With no descriptor
// for that the number must do.
void send(const ProcessInfo& process, int signal) {
#if defined(SYS_pidfd_open) && defined(SYS_pidfd_send_signal)
    UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
#else
    UniqueFd pidfd;
#endif
    ProcessInfo now;
    const Look look = read_stat(process.pid, now);
    if (look == Look::gone || (look == Look::seen && now.start != process.start)) return;
#if defined(SYS_pidfd_open) && defined(SYS_pidfd_send_signal)
    if (pidfd) {
        ::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0);
        return;
    }
#endif
    ::kill(process.pid, signal);
}

}  // namespace

std::optional<std::size_t> signal_tree(TreeId& tree, const Cgroup* cgroup, int signal,
                                       std::set<ProcessKey>& already) {
    Scan scan = all_processes();
    if (scan.blind) {
        // All that can be reached is the leader's process group.
        if (tree.leader_reaped || ::kill(-tree.leader, 0) != 0) return 0;
        if (signal != 0) ::kill(-tree.leader, signal);
        return 1;
    }
    std::size_t living = 0;
    for (const ProcessInfo& process : members_of(tree, cgroup, scan)) {
        if (!process.lives()) continue;
        ++living;
        tree.known.emplace(process.pid, process.start);
        if (signal == SIGTERM && tree.group_termed && process.group == tree.leader) continue;
        if (signal == 0 || !already.emplace(process.pid, process.start).second) continue;
        send(process, signal);
        if (signal == SIGTERM) send(process, SIGCONT);
    }
    if (!scan.complete) return std::nullopt;
    return living;
}

std::optional<std::size_t> signal_descendants(int signal, pid_t spared, std::set<ProcessKey>* already) {
    const Scan scan = all_processes();
    if (scan.blind) return 0;
    std::unordered_map<pid_t, const ProcessInfo*> by_pid;
    for (const ProcessInfo& process : scan.processes) by_pid.emplace(process.pid, &process);
    const pid_t self = ::getpid();
    std::size_t living = 0;
    for (const ProcessInfo& process : scan.processes) {
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
    if (!scan.complete) return std::nullopt;
    return living;
}

}  // namespace sandbox
