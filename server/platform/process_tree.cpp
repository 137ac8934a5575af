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
#include <new>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/proc_text.hpp"
#include "base/unique_fd.hpp"
#include "platform/descriptor_reserve.hpp"

namespace sandbox {
namespace {

// A leader thread that has ended is a zombie already, while other threads still hold files and ports.
bool lives(const ProcStat& process) {
    return (process.state != 'Z' && process.state != 'X') || process.num_threads > 1;
}

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

Look read_stat(pid_t pid, ProcStat& stat) {
    std::string text;
    if (Look look = look_at(pid, "stat", text); look != Look::seen) return look;
    std::optional<ProcStat> parsed = parse_proc_stat(text);
    if (!parsed) return Look::gone;
    stat = *parsed;
    return Look::seen;
}

// seen: it has the marker. gone: it has none, or not any more, or keeps it from us.
Look look_for_marker(pid_t pid, std::string_view entry) {
    std::string text;
    if (Look look = look_at(pid, "environ", text); look != Look::seen) return look;
    return environ_has(text, entry) ? Look::seen : Look::gone;
}

// What there is to be seen in /proc.
struct Scan {
    bool blind = false;      // there is no /proc to read
    bool complete = true;    // nobody was left out
    bool all_listed = true;  // else who is in neither of the next two may live, too
    std::vector<ProcStat> processes;
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
        ProcStat info;
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
std::vector<ProcStat> members_of(const TreeId& tree, const Cgroup* cgroup, Scan& scan) {
    const std::vector<ProcStat>& processes = scan.processes;
    std::unordered_set<pid_t> in_cgroup;
    if (cgroup != nullptr) {
        std::optional<std::vector<pid_t>> listed = cgroup->processes();
        if (listed) in_cgroup.insert(listed->begin(), listed->end());
        if (!listed) scan.complete = false;
    }
    std::unordered_map<pid_t, const ProcStat*> by_pid;
    for (const ProcStat& process : processes) by_pid.emplace(process.pid, &process);
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
        const bool same = found != by_pid.end() && found->second->starttime == start;
        if (same || nobody_has(pid)) sessions.insert(pid);
    }

    enum class Verdict : char { unknown, member, stranger };
    std::unordered_map<pid_t, Verdict> verdicts;
    std::vector<ProcStat> members;
    std::vector<pid_t> chain;
    for (const ProcStat& process : processes) {
        // Up the parent links until one is judged or the top is reached; then all on the way get that
        // verdict.
        chain.clear();
        bool unsure = false;
        Verdict verdict = Verdict::unknown;
        for (pid_t at = process.pid; verdict == Verdict::unknown; at = by_pid.at(at)->ppid) {
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
            const ProcStat& info = *found->second;
            bool is_leader = at == tree.leader && !tree.leader_reaped;
            if (is_leader || in_cgroup.contains(at) || sessions.contains(info.session) ||
                tree.known.contains({at, info.starttime}) ||
                (session_counts && info.session == tree.leader)) {
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
void send(const ProcStat& process, int signal) {
#if defined(SYS_pidfd_open) && defined(SYS_pidfd_send_signal)
    UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
#else
    UniqueFd pidfd;
#endif
    ProcStat now;
    const Look look = read_stat(process.pid, now);
    if (look == Look::gone || (look == Look::seen && now.starttime != process.starttime)) return;
#if defined(SYS_pidfd_open) && defined(SYS_pidfd_send_signal)
    if (pidfd) {
        ::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0);
        return;
    }
#endif
    ::kill(process.pid, signal);
}

}  // namespace

namespace {

std::optional<std::size_t> signal_members(TreeId& tree, const Cgroup* cgroup, int signal,
                                          std::set<ProcessKey>& already) {
    Scan scan = all_processes();
    if (scan.blind) {
        // All that can be reached is the leader's process group.
        if (tree.leader_reaped || ::kill(-tree.leader, 0) != 0) return 0;
        if (signal != 0) ::kill(-tree.leader, signal);
        return 1;
    }
    std::size_t living = 0;
    for (const ProcStat& process : members_of(tree, cgroup, scan)) {
        if (!lives(process)) continue;
        ++living;
        tree.known.emplace(process.pid, process.starttime);
        if (signal == SIGTERM && tree.group_termed && process.pgrp == tree.leader) continue;
        if (signal == 0 || !already.emplace(process.pid, process.starttime).second) continue;
        send(process, signal);
        if (signal == SIGTERM) send(process, SIGCONT);
    }
    if (!scan.complete) return std::nullopt;
    return living;
}

std::optional<std::size_t> signal_all(int signal, pid_t spared, std::set<ProcessKey>* already) {
    const Scan scan = all_processes();
    if (scan.blind) return 0;
    std::unordered_map<pid_t, const ProcStat*> by_pid;
    for (const ProcStat& process : scan.processes) by_pid.emplace(process.pid, &process);
    const pid_t self = ::getpid();
    std::size_t living = 0;
    for (const ProcStat& process : scan.processes) {
        if (process.pid == self || !lives(process)) continue;
        std::size_t steps = 0;
        pid_t at = process.pid;
        while (at != self && at != spared && by_pid.contains(at) && ++steps < 100'000)
            at = by_pid.at(at)->ppid;
        if (at != self) continue;
        ++living;
        if (signal == 0) continue;
        if (already != nullptr && !already->emplace(process.pid, process.starttime).second) continue;
        send(process, signal);
        if (signal == SIGTERM) send(process, SIGCONT);
    }
    if (!scan.complete) return std::nullopt;
    return living;
}

// Without memory to look, nobody knows.
template <class Scanning>
std::optional<std::size_t> look_if_possible(Scanning scanning) {
    try {
        return scanning();
    } catch (const std::bad_alloc&) {
        return std::nullopt;
    }
}

}  // namespace

std::optional<std::size_t> signal_tree(TreeId& tree, const Cgroup* cgroup, int signal,
                                       std::set<ProcessKey>& already) {
    return look_if_possible([&] { return signal_members(tree, cgroup, signal, already); });
}

std::optional<std::size_t> signal_descendants(int signal, pid_t spared, std::set<ProcessKey>* already) {
    return look_if_possible([&] { return signal_all(signal, spared, already); });
}

}  // namespace sandbox
