#include "services/command.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>

#include <array>
#include <boost/asio/post.hpp>
#include <set>

#include "base/log.hpp"
#include "base/uuid.hpp"
#include "platform/event.hpp"
#include "platform/pipe.hpp"
#include "platform/process_tree.hpp"
#include "services/command_spawn.hpp"

namespace sandbox {

using Clock = std::chrono::steady_clock;

namespace {

constexpr std::size_t kReadSize = 64 * 1024;     // a pipe's default capacity: one read empties it
constexpr std::size_t kTurnBytes = 1024 * 1024;  // then others get a turn on the loop
constexpr Milliseconds kAfterKill{5000};
constexpr Milliseconds kLookup{200};  // for the first look at a tree, before its leader is signalled
constexpr int kDrainCap = 10;  // drain times after which even a busy background job does not hold up the end

// Read buffers are borrowed only while there is something to read: a thousand silent commands hold none.
class ReadBuffer {
  public:
    ReadBuffer() {
        if (pool().empty()) {
            bytes_ = std::make_unique<Bytes>();
        } else {
            bytes_ = std::move(pool().back());
            pool().pop_back();
        }
    }
    ~ReadBuffer() {
        if (pool().size() < 16) pool().push_back(std::move(bytes_));
    }
    ReadBuffer(const ReadBuffer&) = delete;
    ReadBuffer& operator=(const ReadBuffer&) = delete;
    std::span<char> span() { return *bytes_; }

  private:
    using Bytes = std::array<char, kReadSize>;
    static std::vector<std::unique_ptr<Bytes>>& pool() {
        static std::vector<std::unique_ptr<Bytes>> buffers;
        return buffers;
    }
    std::unique_ptr<Bytes> bytes_;
};

struct OutputStream {
    std::unique_ptr<ReadEnd> end;
    bool at_end = true;
    bool waiting = false;  // for the command to write
    std::uint64_t bytes_read = 0;
    std::uint64_t bytes = 0;      // delivered; behind bytes_read while the sink takes its time
    std::uint64_t bytes_due = 0;  // read plus lying in the pipe when the leader ended
};

}  // namespace

struct Command::Impl {
    Impl(CommandEnvironment& e, SpawnedCommand spawned, std::shared_ptr<OutputSink> s, std::string marker)
        : environment(e), sink(std::move(s)), changed(e.loop), timeout_timer(e.loop), group_timer(e.loop) {
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

    // SIGTERM (or SIGKILL, when its time has come) to the leader's process group, once.
    void signal_group() {
        if (exit || tree.group_termed) return;
        tree.group_termed = true;
        const bool killing = Clock::now() >= kill_at;
        ::kill(-tree.leader, killing ? SIGKILL : SIGTERM);
        if (!killing) ::kill(-tree.leader, SIGCONT);
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
    std::array<OutputStream, 3> streams;
    std::unique_ptr<WriteEnd> input;
    bool input_busy = false;
    int terminal_fd = -1;
    Event changed;
    Timer timeout_timer;
    Timer group_timer;
    Clock::time_point started = Clock::now();  // start() moves it to before the spawn
    const std::chrono::system_clock::time_point started_wall = std::chrono::system_clock::now();

    std::optional<ExitRecord> exit;
    Clock::time_point exited_at;
    Clock::time_point last_output = started;
    bool timed_out = false;

    bool terminating = false;
    bool terminated = false;
    bool killed_by_us = false;
    Clock::time_point kill_at;
    KillOutcome outcome = KillOutcome::gone;
};

Command::Command(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Command::~Command() = default;

Task<boost::system::result<std::shared_ptr<Command>, CommandError>> Command::start(
    CommandEnvironment& environment, CommandSpec spec, std::shared_ptr<OutputSink> sink) {
    std::string marker = uuid_v4();
    const Clock::time_point asked = Clock::now();
    environment.reaper.begin_spawn();
    auto job = [&environment, &spec, &marker] { return spawn_command(environment, spec, marker); };
    std::optional<SpawnOutcome> spawned;
    std::exception_ptr failure;
    try {
        spawned.emplace(co_await environment.spawn_pool.run(job));
    } catch (...) {
        failure = std::current_exception();
    }
    if (failure) {
        environment.reaper.end_failed_spawn();
        std::rethrow_exception(failure);
    }
    if (!*spawned) {
        environment.reaper.end_failed_spawn();
        co_return spawned->error();
    }
    auto impl = std::make_unique<Impl>(environment, std::move(**spawned), std::move(sink), std::move(marker));
    std::shared_ptr<Command> self(new Command(std::move(impl)));
    self->impl_->started = asked;
    ++environment.commands_started;
    ++environment.commands_running;
    environment.reaper.watch(self->pid(), [self](const ExitRecord& record) { self->on_exit(record); });
    if (self->impl_->sink) self->start_pumps();
    if (spec.timeout.count() > 0 && !self->impl_->exit) {
        self->impl_->timeout_timer.start(spec.timeout, [weak = std::weak_ptr(self)] {
            auto command = weak.lock();
            if (!command) return;
            command->impl_->timed_out = true;
            command->start_terminating(command->impl_->environment.kill_grace);
        });
    }
    co_return self;
}

void Command::attach_sink(std::shared_ptr<OutputSink> sink) {
    impl_->sink = std::move(sink);
    start_pumps();
}

void Command::start_pumps() {
    auto self = shared_from_this();
    for (StreamId id : {StreamId::stdout_, StreamId::stderr_, StreamId::pty}) {
        if (!impl_->stream(id).at_end) spawn_task(impl_->environment.loop, "output pump", pump(id, self));
    }
}

pid_t Command::pid() const { return impl_->tree.leader; }
std::chrono::system_clock::time_point Command::started_at() const { return impl_->started_wall; }
bool Command::has_exited() const { return impl_->exit.has_value(); }
std::uint64_t Command::bytes_out(StreamId stream) const { return impl_->stream(stream).bytes; }
bool Command::has_pty() const { return impl_->terminal_fd >= 0; }
bool Command::stdin_open() const { return impl_->input && impl_->input->is_open(); }

void Command::on_exit(const ExitRecord& record) {
    impl_->exit = record;
    impl_->exited_at = Clock::now();
    impl_->tree.leader_reaped = true;
    impl_->timeout_timer.cancel();
    for (OutputStream& stream : impl_->streams) {
        if (!stream.at_end) stream.bytes_due = stream.bytes_read + stream.end->pending();
    }
    --impl_->environment.commands_running;
    impl_->changed.notify();
}

Task<> Command::pump(StreamId id, std::shared_ptr<Command> self) {
    Impl& impl = *self->impl_;
    OutputStream& stream = impl.stream(id);
    std::size_t turn = 0;
    for (;;) {
        {
            ReadBuffer buffer;
            long count;
            while ((count = stream.end->read_now(buffer.span())) > 0) {
                auto size = static_cast<std::size_t>(count);
                stream.bytes_read += size;
                impl.environment.output_bytes += size;
                if (std::shared_ptr<OutputSink> sink = impl.sink) {
                    ++impl.delivering;
                    co_await sink->on_output(id, std::string_view(buffer.span().data(), size));
                    if (--impl.delivering == 0 && !impl.sink) impl.changed.notify();
                }
                stream.bytes += size;
                impl.last_output = Clock::now();
                if ((turn += size) >= kTurnBytes) {
                    turn = 0;
                    co_await boost::asio::post(impl.environment.loop, use_task);
                }
            }
            if (count != -EAGAIN) break;
        }
        stream.waiting = true;
        bool open = co_await stream.end->readable();
        stream.waiting = false;
        turn = 0;
        if (!open) break;
    }
    stream.end->close();
    if (id == StreamId::pty) {
        impl.terminal_fd = -1;
        impl.input.reset();
    }
    if (std::shared_ptr<OutputSink> sink = impl.sink) {
        ++impl.delivering;
        co_await sink->on_end(id);
        --impl.delivering;
    }
    stream.at_end = true;
    impl.changed.notify();
}

Task<CommandEnd> Command::wait(EndRule rule) {
    auto self = shared_from_this();
    Impl& impl = *impl_;
    while (impl.terminating || (!impl.exit && !impl.unkillable())) co_await impl.changed.wait();
    if (!impl.exit) co_return end_record();
    if (rule == EndRule::exit_and_eof) {
        while (!impl.all_at_end()) co_await impl.changed.wait();
    } else {
        const Milliseconds drain = impl.environment.drain;
        while (!impl.all_at_end()) {
            Clock::time_point now = Clock::now();
            Clock::time_point quiet_since = std::max(impl.exited_at, impl.last_output);
            if (impl.silent() && now >= quiet_since + drain) break;
            if (impl.delivered_what_was_due() && now >= impl.exited_at + drain * kDrainCap) break;
            Clock::time_point wake = impl.silent() ? quiet_since + drain : now + drain;
            auto rest = std::chrono::ceil<Milliseconds>(wake - now);
            co_await impl.changed.wait_for(std::max(rest, Milliseconds(1)));
        }
    }
    co_return end_record();
}

Task<CommandEnd> Command::wait_exit() {
    auto self = shared_from_this();
    while (!impl_->exit) co_await impl_->changed.wait();
    co_return end_record();
}

CommandEnd Command::end_record() const {
    CommandEnd end;
    if (impl_->exit) {
        end.exit = *impl_->exit;
    } else {
        end.survives = true;
    }
    end.timed_out = impl_->timed_out;
    end.killed_by_us = impl_->killed_by_us;
    end.pipes_open = !impl_->all_at_end();
    end.duration = (impl_->exit ? impl_->exited_at : Clock::now()) - impl_->started;
    return end;
}

Task<> Command::detach_sink() {
    auto self = shared_from_this();
    impl_->sink.reset();
    while (impl_->delivering > 0) co_await impl_->changed.wait();
}

void Command::start_terminating(Milliseconds grace) {
    Impl& impl = *impl_;
    Clock::time_point kill_at = Clock::now() + grace;
    if (impl.terminating) {
        impl.kill_at = std::min(impl.kill_at, kill_at);
        impl.changed.notify();
        return;
    }
    impl.terminating = true;
    impl.kill_at = kill_at;
    auto self = shared_from_this();
    if (!impl.exit) impl.killed_by_us = true;
    // A cgroup loses nobody, so the leader may go at once. Without one, those who only hang on it by their
    // parent link are looked up first; a machine too busy for that does not hold up the kill.
    if (impl.cgroup) {
        impl.signal_group();
    } else {
        impl.group_timer.start(kLookup, [self] { self->impl_->signal_group(); });
    }
    spawn_task(impl.environment.loop, "end of a tree", run_termination(self));
}

Task<> Command::run_termination(std::shared_ptr<Command> self) {
    Impl& impl = *self->impl_;
    std::set<ProcessKey> termed;
    bool seen_living = !impl.exit;
    Milliseconds pause{2};
    std::optional<Clock::time_point> give_up;
    if (!impl.cgroup) {
        TreeId tree = impl.tree;
        auto look = [&tree, &termed] { return signal_tree(tree, nullptr, 0, termed); };
        if (co_await impl.environment.work_pool.run(look) > 0) seen_living = true;
        impl.tree.known = std::move(tree.known);
        impl.group_timer.cancel();
        impl.signal_group();
    }
    for (;;) {
        bool killing = Clock::now() >= impl.kill_at;
        if (killing && !give_up) give_up = Clock::now() + kAfterKill;
        if (killing && !impl.exit) ::kill(-impl.tree.leader, SIGKILL);
        TreeId tree = impl.tree;
        const Cgroup* cgroup = impl.cgroup.get();
        auto job = [&tree, cgroup, &termed, killing] {
            if (killing && cgroup != nullptr) cgroup->kill();
            // SIGKILL goes out again and again: a fork may have slipped through the scan.
            std::set<ProcessKey> fresh;
            return signal_tree(tree, cgroup, killing ? SIGKILL : SIGTERM, killing ? fresh : termed);
        };
        std::size_t living = co_await impl.environment.work_pool.run(job);
        impl.tree.known = std::move(tree.known);
        if (living > 0 || !impl.exit) seen_living = true;
        // The dead are gone for good: whoever asks for their numbers next finds nothing.
        if (living == 0) impl.environment.reaper.sweep();
        if (living == 0 && impl.exit) {
            impl.outcome = seen_living ? KillOutcome::gone : KillOutcome::nothing_left;
            break;
        }
        if (give_up && Clock::now() >= *give_up) {
            impl.outcome = KillOutcome::survivors;
            log::error("processes survive SIGKILL", {{"pid", impl.tree.leader}, {"living", living}});
            break;
        }
        auto until_kill = std::chrono::ceil<Milliseconds>(impl.kill_at - Clock::now());
        Milliseconds nap = killing ? pause : std::clamp(until_kill, Milliseconds(1), pause);
        co_await impl.changed.wait_for(nap);
        pause = std::min(pause * 2, Milliseconds(50));
    }
    impl.terminating = false;
    impl.terminated = true;
    impl.changed.notify();
}

Task<KillOutcome> Command::terminate(Milliseconds grace) {
    auto self = shared_from_this();
    start_terminating(grace);
    while (impl_->terminating) co_await impl_->changed.wait();
    co_return impl_->outcome;
}

Task<Result<>> Command::signal(int number, bool tree) {
    auto self = shared_from_this();
    Impl& impl = *impl_;
    if (!tree) {
        if (impl.exit) co_return Error{Errc::failed_precondition, "process is not running", ESRCH};
        if (::kill(impl.tree.leader, number) != 0) co_return sys_error("signal", errno);
        co_return Result<>();
    }
    TreeId id = impl.tree;
    const Cgroup* cgroup = impl.cgroup.get();
    auto job = [&id, cgroup, number] {
        std::set<ProcessKey> signalled;
        return signal_tree(id, cgroup, number, signalled);
    };
    std::size_t living = co_await impl.environment.work_pool.run(job);
    if (living == 0) co_return Error{Errc::failed_precondition, "process is not running", ESRCH};
    co_return Result<>();
}

Task<Result<>> Command::write_stdin(std::string bytes, const bool* give_up) {
    auto self = shared_from_this();
    Impl& impl = *impl_;
    auto given_up = [give_up] { return give_up != nullptr && *give_up; };
    while (impl.input_busy && !given_up()) co_await impl.changed.wait();  // Writers take turns; none is torn.
    if (given_up()) co_return Error{Errc::cancelled, "write given up", ECANCELED};
    if (!stdin_open()) co_return Error{Errc::failed_precondition, "stdin is not open", EPIPE};
    impl.input_busy = true;
    Result<> written = co_await impl.input->write_all(bytes, give_up);
    impl.input_busy = false;
    bool broken = !written && written.error().code != Errc::cancelled;
    if (broken && impl.input && impl.terminal_fd < 0) impl.input->close();
    impl.changed.notify();
    co_return written;
}

void Command::wake_stdin_writers() {
    if (impl_->input) impl_->input->interrupt();
    impl_->changed.notify();
}

Result<> Command::close_stdin() {
    if (has_pty())
        return Error{Errc::failed_precondition, "a terminal has no end of input; send Ctrl-D (0x04)", 0};
    if (impl_->input) impl_->input->close();
    return Result<>();
}

Result<> Command::resize(PtySize size) {
    if (!has_pty()) return Error{Errc::failed_precondition, "process has no terminal", ENOTTY};
    winsize window{};
    window.ws_col = size.columns;
    window.ws_row = size.rows;
    if (::ioctl(impl_->terminal_fd, TIOCSWINSZ, &window) != 0) return sys_error("resize", errno);
    return Result<>();
}

}  // namespace sandbox
