#pragma once
// A running command and everything it starts: one spawn path for every adapter.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "platform/blocking_pool.hpp"
#include "platform/cgroup.hpp"
#include "platform/event.hpp"
#include "platform/oom_kills.hpp"
#include "platform/reaper.hpp"
#include "platform/spawn.hpp"
#include "platform/spool.hpp"
#include "services/output.hpp"
#include "services/shell_path.hpp"

namespace sandbox {

using Milliseconds = std::chrono::milliseconds;

struct PtySize {
    std::uint16_t columns = 80;
    std::uint16_t rows = 24;
};

enum class StdinMode {
    null,  // /dev/null
    pipe,  // open until close_stdin()
};

struct CommandSpec {
    std::string shell_command;      // run as `sh -c <it>` when `args` is empty; of any length
    std::vector<std::string> args;  // an argv, run without a shell
    std::vector<std::pair<std::string, std::string>>
        env;                 // on top of the daemon's (scrubbed) one; later ones win
    bool clean_env = false;  // `env` is the whole environment, but for the user's HOME, USER and LOGNAME
    std::string cwd;         // empty: the daemon's
    std::string user;        // name or number; empty: the daemon's
    StdinMode stdin_mode = StdinMode::null;
    std::optional<PtySize> pty;  // a terminal instead of the three pipes
    // From start() on, then the tree is ended and the end says timed_out; 0: none.
    Milliseconds timeout{0};
};

struct CommandError {
    enum class Kind {
        bad_cwd,
        bad_user,
        not_started,
        timed_out,  // while it was being started: a file system hangs. It does not run
        given_up,   // by PendingStart, likewise
    };
    Kind kind;
    Error error;
};

// A start that is under way, for whoever may want to leave it: it can be stuck in a hung file system for
// good. Loop thread; outlives the start() that it was given to.
class PendingStart {
  public:
    // Makes start() return with Kind::given_up, unless it has returned. The command does not run; one that
    // has come so far all the same is killed at once.
    void give_up();

  private:
    friend class Command;
    bool given_up_ = false;
    Event* changed_ = nullptr;
};

// When a caller hears that a command could not be started.
enum class StartRule {
    at_once,     // from start()
    at_the_end,  // from start() or, for what only execve(2) finds out, with the end: costs no thread
};

// When a command counts as ended.
enum class EndRule {
    // The leader has ended, and then its pipes were silent for the drain time or at their end; everything
    // that
    // was written before the leader's end is delivered.
    exit_and_drain,
    // The leader has ended and all pipes are at their end.
    exit_and_eof,
};

struct CommandEnd {
    ExitRecord exit;
    bool timed_out = false;
    bool killed_by_us = false;  // kill, timeout, disconnect or shutdown asked for the end; or by signal()
    // It got a SIGKILL that was not ours, or ended with 137 as a shell does whose child got one, and
    // meanwhile the kernel's OOM killer has ended somebody.
    bool oom_killed = false;
    bool pipes_open = false;   // somebody still holds a pipe
    bool output_lost = false;  // there was no memory to read or keep it, and the command was ended
    // SIGKILL did not end the leader: how it ends is not known, and `exit` says nothing.
    bool survives = false;
    std::chrono::nanoseconds duration{0};
    std::optional<Error> not_started;  // StartRule::at_the_end: it never ran, and the rest says nothing
};

enum class KillOutcome {
    gone,          // nothing of the tree lives
    nothing_left,  // and nothing lived when we were asked
    survivors,     // not gone 5 s after SIGKILL, or there was no looking at who is left
};

// What every command needs of its surroundings. Outlives all commands.
struct CommandEnvironment {
    Loop& loop;
    BlockingPool& spawn_pool;  // clone and execve: a hung working directory blocks one of its threads
    BlockingPool& work_pool;   // reading /proc
    Reaper& reaper;
    std::vector<std::pair<std::string, std::string>>
        base_env;                   // the daemon's own, without what commands must not see
    std::uint64_t nofile_soft = 0;  // the limit commands get back
    Milliseconds drain{100};
    Milliseconds kill_grace{5000};
    int null_fd = -1;               // /dev/null, opened at start
    CgroupPool* cgroups = nullptr;  // null: none
    // Of commands: above our own, so that the kernel takes them first when memory is short. 0: as ours.
    int oom_score_adj = 0;
    std::optional<int> nice = {};   // of commands; absent: ours
    OomKills* oom_kills = nullptr;  // null: they are not looked for
    std::uint64_t commands_started = 0;
    std::uint64_t commands_running = 0;
    std::uint64_t output_bytes = 0;
    std::size_t large_pipes = 0;  // that are not at their end
    Launcher launcher = {};       // loop thread, for commands whose start needs no look at a path
    mutable ShellPath shell = {};
};

struct SpawnedCommand;

class Command : public std::enable_shared_from_this<Command> {
  public:
    // Spawns. Without a sink (null) output waits in the pipes until attach_sink(). The command then lives
    // until its leader has ended and its pipes are closed, whoever holds this object: dropping the last
    // pointer ends nothing. Ending it is terminate()'s.
    static Task<boost::system::result<std::shared_ptr<Command>, CommandError>> start(
        CommandEnvironment& environment, CommandSpec spec, std::shared_ptr<OutputSink> sink,
        StartRule rule = StartRule::at_once, PendingStart* pending = nullptr);
    ~Command();

    pid_t pid() const;
    std::chrono::system_clock::time_point started_at() const;
    bool has_exited() const;
    std::uint64_t bytes_out(StreamId stream) const;
    bool has_pty() const;
    bool stdin_open() const;
    bool output_lost() const;  // as of CommandEnd, so far

    // Resumes as soon as the leader has ended; pipes_open is not known yet.
    Task<CommandEnd> wait_exit();
    // Resumes when the command has ended by `rule`, and any termination under way has. Any number of waiters.
    Task<CommandEnd> wait(EndRule rule);

    // Gives output to `sink` from now on; once, for a command started without one.
    void attach_sink(std::shared_ptr<OutputSink> sink);

    // The present sink gets nothing more once this returns; later output is read and dropped, so that nobody
    // of the tree gets SIGPIPE. Waits for a delivery that is under way.
    Task<> detach_sink();

    // Ends the whole tree: SIGTERM, after `grace` SIGKILL, repeated until nothing lives or 5 s after the
    // first SIGKILL have passed. A second call joins the first; a shorter grace shortens it.
    Task<KillOutcome> terminate(Milliseconds grace);
    // The same without waiting.
    void start_terminating(Milliseconds grace);

    // Signals the leader, or the whole tree. failed_precondition when nothing is left to signal;
    // resource_exhausted when not all of the tree could be looked at: those who were seen have got it.
    Task<Result<>> signal(int number, bool tree);

    // A place in the line of those who write to stdin, from its making to its end: what comes later is
    // written later, and an end of stdin waits for it. Of a stdin that is not open it is none.
    class InputPlace {
      public:
        explicit InputPlace(std::shared_ptr<Command> command);
        ~InputPlace();
        InputPlace(const InputPlace&) = delete;
        InputPlace& operator=(const InputPlace&) = delete;

      private:
        friend class Command;
        std::shared_ptr<Command> command_;
        std::uint64_t number_ = 0;  // 0: none
    };

    // Suspends while the pipe (or the terminal) is full. What one call writes stays together, however many
    // write at the same time. failed_precondition when stdin is not open.
    Task<Result<>> write_stdin(std::string bytes);
    // The same for any amount; `done` counts the bytes that were taken. Once `*give_up` is true and
    // wake_stdin_writers() was called, the rest is left out and the error is cancelled.
    Task<Result<>> write_stdin(Spool& bytes, std::uint64_t& done, const bool* give_up = nullptr);
    // The same by a place taken earlier.
    Task<Result<>> write_stdin(const InputPlace& place, Spool& bytes, std::uint64_t& done,
                               const bool* give_up = nullptr);
    void wake_stdin_writers();
    // Ends stdin: the command reads end of file, behind what is still being written. Nothing more is
    // accepted. Not for a terminal. Stdin ends by itself when the leader has ended, the pipes are at their
    // end and nobody reads it.
    Result<> close_stdin();
    Result<> resize(PtySize size);

  private:
    struct Impl;
    struct Start;
    explicit Command(std::unique_ptr<Impl> impl);
    static Task<> spawn_on_pool(std::shared_ptr<Start> start);
    static std::shared_ptr<Command> make(CommandEnvironment& environment, SpawnedCommand spawned,
                                         std::shared_ptr<OutputSink> sink, std::string marker, bool launched);
    void start_pumps();
    void begin(bool launched, Milliseconds timeout);
    void attend();
    void raise_oom_score(Milliseconds pause);
    void raise_oom_score_later(Milliseconds pause);
    static Task<> pump(StreamId stream, std::shared_ptr<Command> self);
    static Task<> read_rest(std::shared_ptr<Command> self);
    static Task<bool> read_available(StreamId stream, std::shared_ptr<Command> self);
    void lose_output(const std::exception& error);
    static Task<> end_stream(StreamId stream, std::shared_ptr<Command> self);
    Task<> run_termination(std::shared_ptr<Command> self);
    Task<Result<>> await_turn(const InputPlace& place, const bool* give_up);
    void note_broken(const Result<>& written);
    CommandEnd end_record() const;
    void on_exit(const ExitRecord& record);
    // Whether the leader has, as the kernel knows it now.
    bool has_ended();
    std::unique_ptr<Impl> impl_;
};

}  // namespace sandbox
