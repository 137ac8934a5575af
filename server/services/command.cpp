#include "services/command.hpp"

#include <array>

#include "base/log.hpp"
#include "base/on_exit.hpp"
#include "services/command_impl.hpp"

namespace sandbox {

using Clock = std::chrono::steady_clock;

namespace {

constexpr std::size_t kReadSize = 64 * 1024;     // a pipe's default capacity
constexpr std::size_t kTurnBytes = 1024 * 1024;  // then others get a turn on the loop, and the other stream
constexpr std::size_t kKeptBuffers = 16;
constexpr StreamId kAllStreams[] = {StreamId::stdout_, StreamId::stderr_, StreamId::pty};
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
        if (pool().size() < kKeptBuffers) pool().push_back(std::move(bytes_));
    }
    ReadBuffer(const ReadBuffer&) = delete;
    ReadBuffer& operator=(const ReadBuffer&) = delete;
    std::span<char> span() { return *bytes_; }

  private:
    using Bytes = std::array<char, kReadSize>;
    static std::vector<std::unique_ptr<Bytes>>& pool() {
        static std::vector<std::unique_ptr<Bytes>> buffers;
        buffers.reserve(kKeptBuffers);  // So that giving one back needs no memory.
        return buffers;
    }
    std::unique_ptr<Bytes> bytes_;
};

}  // namespace

Command::Command(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Command::~Command() = default;

void Command::attach_sink(std::shared_ptr<OutputSink> sink) {
    impl_->sink = std::move(sink);
    start_pumps();
}

void Command::start_pumps() {
    auto self = shared_from_this();
    if (impl_->exit) {
        spawn_task(impl_->environment.loop, "rest of the output", read_rest(self));
        return;
    }
    for (StreamId id : kAllStreams) {
        if (!impl_->stream(id).at_end) spawn_task(impl_->environment.loop, "output pump", pump(id, self));
    }
}

pid_t Command::pid() const { return impl_->tree.leader; }
std::chrono::system_clock::time_point Command::started_at() const { return impl_->started_wall; }
bool Command::has_exited() const { return impl_->exit.has_value(); }
std::uint64_t Command::bytes_out(StreamId stream) const { return impl_->stream(stream).bytes; }
bool Command::has_pty() const { return impl_->terminal_fd >= 0; }
bool Command::stdin_open() const { return impl_->input && impl_->input->is_open() && !impl_->input_ending; }

bool Command::output_lost() const { return impl_->output_lost; }

void Command::on_exit(const ExitRecord& record) {
    impl_->exit = record;
    impl_->exited_at = Clock::now();
    impl_->oom_killed = impl_->killed_for_memory();
    impl_->tree.leader_reaped = true;
    impl_->timeout_timer.cancel();
    impl_->look_timer.cancel();
    if (impl_->launched) {
        impl_->not_started = impl_->environment.launcher.ended(impl_->tree.leader);
        if (impl_->not_started) impl_->environment.shell.forget();
    }
    attend();
    for (OutputStream& stream : impl_->streams) {
        if (!stream.at_end) stream.bytes_due = stream.bytes_read + stream.end->pending();
    }
    --impl_->environment.commands_running;
    impl_->give_back_cgroup();
    impl_->let_go_of_input();
    impl_->changed.notify();
}

bool Command::has_ended() {
    if (!impl_->exit) impl_->environment.reaper.look_at(pid());
    return impl_->exit.has_value();
}

Task<> Command::pump(StreamId id, std::shared_ptr<Command> self) {
    OutputStream& stream = self->impl_->stream(id);
    try {
        for (;;) {
            stream.waiting = true;
            bool open = co_await stream.end->readable();
            stream.waiting = false;
            if (open) open = co_await read_available(id, self);
            if (!open) break;
        }
        co_await end_stream(id, self);
    } catch (const std::exception& error) {
        self->lose_output(error);
    }
}

// Of a command that has ended. Most have said all: then nothing has to be waited for, and one coroutine does.
Task<> Command::read_rest(std::shared_ptr<Command> self) {
    try {
        for (StreamId id : kAllStreams) {
            if (self->impl_->stream(id).at_end) continue;
            const bool open = co_await read_available(id, self);
            if (open) {
                spawn_task(self->impl_->environment.loop, "output pump", pump(id, self));
            } else {
                co_await end_stream(id, self);
            }
        }
    } catch (const std::exception& error) {
        self->lose_output(error);
    }
}

// Nobody may wait for the end of what cannot be read any more.
void Command::lose_output(const std::exception& error) {
    Impl& impl = *impl_;
    impl.output_lost = true;
    for (StreamId id : kAllStreams) {
        if (impl.stream(id).at_end) continue;
        impl.close_stream(id);
        impl.stream(id).at_end = true;
    }
    impl.let_go_of_input();
    impl.changed.notify();
    start_terminating(Milliseconds(0));
    log::error("output of a command lost, which is ended", {{"pid", pid()}, {"error", error.what()}});
}

// Delivers what lies in the pipe (drops it without a sink), but no more than a turn's worth. False: it is at
// its end, or broken.
Task<bool> Command::read_available(StreamId id, std::shared_ptr<Command> self) {
    Impl& impl = *self->impl_;
    OutputStream& stream = impl.stream(id);
    ReadBuffer buffer;
    long count = 1;
    for (std::size_t turn = 0; count > 0 && turn < kTurnBytes;) {
        std::size_t size = 0;  // What comes in small pieces is handed on together.
        while (size < kReadSize && (count = stream.end->read_now(buffer.span().subspan(size))) > 0)
            size += static_cast<std::size_t>(count);
        if (size == 0) break;
        if (size == kReadSize && impl.sink) impl.enlarge_pipe(stream);
        turn += size;
        stream.bytes_read += size;
        impl.environment.output_bytes += size;
        if (std::shared_ptr<OutputSink> sink = impl.sink) {
            auto release = [&impl] {
                if (--impl.delivering == 0 && !impl.sink) impl.changed.notify();
            };
            ++impl.delivering;
            const OnExit released(release);
            co_await sink->on_output(id, std::string_view(buffer.span().data(), size));
        }
        stream.bytes += size;
        impl.last_output = Clock::now();
    }
    co_return count > 0 || count == -EAGAIN;
}

Task<> Command::end_stream(StreamId id, std::shared_ptr<Command> self) {
    Impl& impl = *self->impl_;
    OutputStream& stream = impl.stream(id);
    // A command may close its terminal before it ends, as cat does. The other end, if it were closed then,
    // would hang up on it.
    stream.waiting = true;
    while (id == StreamId::pty && !impl.exit) co_await impl.changed.wait();
    impl.close_stream(id);
    if (std::shared_ptr<OutputSink> sink = impl.sink) {
        auto release = [&impl] { --impl.delivering; };
        ++impl.delivering;
        const OnExit released(release);
        co_await sink->on_end(id);
    }
    stream.at_end = true;
    impl.let_go_of_input();
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
            const bool quiet = impl.silent() && now >= quiet_since + drain;
            const bool busy_for_long =
                impl.delivered_what_was_due() && now >= impl.exited_at + drain * kDrainCap;
            if ((quiet || busy_for_long) && impl.held()) break;
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
    end.not_started = impl_->not_started;
    end.timed_out = impl_->timed_out;
    end.killed_by_us = impl_->killed_by_us || (impl_->exit && impl_->sent(impl_->exit->status.signal()));
    end.oom_killed = impl_->oom_killed;
    end.output_lost = impl_->output_lost;
    end.pipes_open = !impl_->all_at_end();
    end.duration = (impl_->exit ? impl_->exited_at : Clock::now()) - impl_->started;
    return end;
}

Task<> Command::detach_sink() {
    auto self = shared_from_this();
    impl_->sink.reset();
    while (impl_->delivering > 0) co_await impl_->changed.wait();
}

}  // namespace sandbox
