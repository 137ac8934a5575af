#pragma once
// What a Command consists of. Private to command*.cpp: the start is in command_start.cpp, streams and the end
// are in command.cpp, the end of the tree in command_termination.cpp, input in command_input.cpp.

#include <fcntl.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <deque>

#include "platform/event.hpp"
#include "platform/pipe.hpp"
#include "platform/process_tree.hpp"
#include "services/command.hpp"
#include "services/command_spawn.hpp"

namespace sandbox {

// Together they bound what the kernel holds more than with pipes as they come.
constexpr std::size_t kLargePipe = 512 * 1024;
constexpr std::size_t kMostLargePipes = 32;

struct OutputStream {
    std::unique_ptr<ReadEnd> end;
    bool at_end = true;
    bool asked_for_more = false;
    bool large = false;    // one of CommandEnvironment::large_pipes
    bool waiting = false;  // for the command to write
    std::uint64_t bytes_read = 0;
    std::uint64_t bytes = 0;      // delivered; behind bytes_read while the sink takes its time
    std::uint64_t bytes_due = 0;  // read plus lying in the pipe when the leader ended
};

struct Command::Impl {
    Impl(CommandEnvironment& e, SpawnedCommand spawned, std::shared_ptr<OutputSink> s, std::string marker)
        : environment(e),
          sink(std::move(s)),
          changed(e.loop),
          timeout_timer(e.loop),
          group_timer(e.loop),
          look_timer(e.loop) {
        if (e.oom_kills != nullptr) oom_kills_before = e.oom_kills->recent();
        tree.leader = spawned.pid;
        cgroup = std::move(spawned.cgroup);
        tree.marker = std::move(marker);
        auto attach = [&](OutputStream& stream, UniqueFd fd) {
            if (!fd) return;
            stream.end = std::make_unique<ReadEnd>(e.loop, std::move(fd));
            stream.at_end = false;
        };
        if (spawned.terminal) {
            UniqueFd writer(::fcntl(spawned.terminal.get(), F_DUPFD_CLOEXEC, 4));
            terminal_fd = spawned.terminal.get();
            if (writer) input = std::make_unique<WriteEnd>(e.loop, std::move(writer));
            attach(stream(StreamId::pty), std::move(spawned.terminal));
        }
        attach(stream(StreamId::stdout_), std::move(spawned.stdout_read));
        attach(stream(StreamId::stderr_), std::move(spawned.stderr_read));
        if (spawned.stdin_write) input = std::make_unique<WriteEnd>(e.loop, std::move(spawned.stdin_write));
    }

    ~Impl() {
        if (cgroup) environment.cgroups->give_back(std::move(cgroup));
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    // After the leader's end. With nobody left in it, nobody can come into it any more, and the next command
    // may have it. Else it goes as soon as nobody lives in it; its path finds those who do until then.
    void give_back_cgroup() {
        if (!cgroup || terminating || tree_jobs > 0) return;
        if (!environment.cgroups->give_back_if_empty(cgroup)) environment.cgroups->remove_when_empty(*cgroup);
    }

    // SIGTERM (or SIGKILL, when its time has come) to the leader's process group, once.
    void signal_group() {
        if (exit || tree.group_termed) return;
        tree.group_termed = true;
        const bool killing = std::chrono::steady_clock::now() >= kill_at;
        const int signal = killing ? SIGKILL : SIGTERM;
        // A launched one may not have come to lead a group yet: then it is alone.
        const pid_t target = ::kill(-tree.leader, signal) == 0 ? -tree.leader : tree.leader;
        if (target > 0) ::kill(target, signal);
        if (!killing) ::kill(target, SIGCONT);
    }

    // For a command that writes as fast as we read: it then goes on while we are busy with what was read, as
    // with a long line. Asked for once a stream; a terminal refuses.
    void enlarge_pipe(OutputStream& stream) {
        if (stream.asked_for_more || environment.large_pipes >= kMostLargePipes) return;
        stream.asked_for_more = true;
        stream.large = stream.end->enlarge(kLargePipe);
        if (stream.large) ++environment.large_pipes;
    }

    // Gives back what it has; a terminal takes its input with it.
    void close_stream(StreamId id) {
        OutputStream& closed = stream(id);
        closed.end->close();
        if (std::exchange(closed.large, false)) --environment.large_pipes;
        if (id != StreamId::pty) return;
        terminal_fd = -1;
        input.reset();
    }

    OutputStream& stream(StreamId id) { return streams[static_cast<std::size_t>(id)]; }
    bool all_at_end() const {
        for (const OutputStream& s : streams) {
            if (!s.at_end) return false;
        }
        return true;
    }
    bool silent() {
        for (OutputStream& s : streams) {
            if (!s.at_end && (!s.waiting || s.end->pending() > 0)) return false;
        }
        return true;
    }
    // Closes a pipe that nobody can read any more: ended commands are kept, and theirs would be, too.
    void let_go_of_input() {
        if (!exit || !all_at_end() || !input || !input_line.empty() || terminal_fd >= 0) return;
        if (!input->has_reader()) input->close();
    }
    // Whether somebody could still write. When nobody can, the end is sure to come, however late we look.
    bool held() const {
        for (const OutputStream& s : streams) {
            if (!s.at_end && s.end->has_writers()) return true;
        }
        return false;
    }
    // Why it was killed, as far as that can be known.
    bool killed_for_memory() const {
        static constexpr int kToldByShells = 128 + SIGKILL;
        if (killed_by_us || environment.oom_kills == nullptr || exit->status.code() != kToldByShells)
            return false;
        return !sent(exit->status.signal()) && environment.oom_kills->now() > oom_kills_before;
    }
    // Whether signal() has sent it.
    bool sent(int signal) const {
        return signal > 0 && ((signals_sent >> static_cast<unsigned>(signal - 1)) & 1U) != 0;
    }
    bool unkillable() const { return terminated && outcome == KillOutcome::survivors; }
    bool delivered_what_was_due() const {
        for (const OutputStream& s : streams) {
            if (!s.at_end && s.bytes < s.bytes_due) return false;
        }
        return true;
    }

    CommandEnvironment& environment;
    std::shared_ptr<OutputSink> sink;
    unsigned delivering = 0;
    TreeId tree;
    std::unique_ptr<Cgroup> cgroup;
    unsigned tree_jobs = 0;  // on the work pool, with `cgroup`
    std::array<OutputStream, 3> streams;
    std::unique_ptr<WriteEnd> input;
    std::deque<std::uint64_t> input_line;  // of writers, by number; the first has its turn
    std::uint64_t last_in_line = 0;
    bool input_ending = false;  // it is closed behind the last of them
    int terminal_fd = -1;
    Event changed;
    Timer timeout_timer;
    Timer group_timer;
    Timer look_timer;
    std::chrono::steady_clock::time_point started =
        std::chrono::steady_clock::now();  // start() moves it to before the spawn
    const std::chrono::system_clock::time_point started_wall = std::chrono::system_clock::now();

    std::optional<ExitRecord> exit;
    std::chrono::steady_clock::time_point exited_at;
    std::chrono::steady_clock::time_point last_output = started;
    std::uint64_t oom_kills_before = 0;
    bool oom_killed = false;
    bool timed_out = false;
    bool output_lost = false;
    bool launched = false;
    bool unattended = false;  // nobody reads its pipes before the first look at it, or its end
    std::optional<Error> not_started;

    bool terminating = false;
    bool terminated = false;
    bool killed_by_us = false;
    std::uint64_t signals_sent = 0;  // by signal(); bit 0 is signal 1
    std::chrono::steady_clock::time_point kill_at;
    KillOutcome outcome = KillOutcome::gone;
};

}  // namespace sandbox
