// The start of a command, and what becomes of one that nobody waits for any more.

#include <signal.h>
#include <unistd.h>

#include "base/uuid.hpp"
#include "services/command_impl.hpp"

namespace sandbox {

using Clock = std::chrono::steady_clock;

namespace {

constexpr Milliseconds kFirstLook{2};  // at what was launched; most have ended by then
constexpr Milliseconds kLastOomLook{4000};

}  // namespace

// What a thread of the pool works on, for as long as it is stuck, whoever has left.
struct Command::Start {
    Start(CommandEnvironment& e, CommandSpec s, std::string m)
        : environment(e), spec(std::move(s)), marker(std::move(m)), changed(e.loop) {}

    CommandEnvironment& environment;
    const CommandSpec spec;
    const std::string marker;
    int given_up = 0;  // atomic: also the child looks at it
    std::optional<SpawnOutcome> outcome;
    std::exception_ptr failure;
    bool ended = false;
    Event changed;
};

void PendingStart::give_up() {
    given_up_ = true;
    if (changed_ != nullptr) changed_->notify();
}

std::shared_ptr<Command> Command::make(CommandEnvironment& environment, SpawnedCommand spawned,
                                       std::shared_ptr<OutputSink> sink, std::string marker, bool launched) {
    const pid_t pid = spawned.pid;
    try {
        auto impl =
            std::make_unique<Impl>(environment, std::move(spawned), std::move(sink), std::move(marker));
        std::shared_ptr<Command> self(new Command(std::move(impl)));
        self->impl_->launched = launched;
        environment.reaper.watch(pid, [self](const ExitRecord& record) { self->on_exit(record); });
        ++environment.commands_started;
        ++environment.commands_running;
        return self;
    } catch (...) {
        // Out of memory. It must not run on, unknown to all.
        ::kill(-pid, SIGKILL);
        ::kill(pid, SIGKILL);
        environment.reaper.end_failed_spawn();
        throw;
    }
}

Task<> Command::spawn_on_pool(std::shared_ptr<Start> start) {
    std::vector<std::string> paths;
    if (!start->spec.cwd.empty()) paths.push_back(start->spec.cwd);
    if (!start->spec.args.empty() && start->spec.args[0].starts_with('/'))
        paths.push_back(start->spec.args[0]);
    auto job = [&start = *start] {
        return spawn_command(start.environment, start.spec, start.marker, &start.given_up);
    };
    try {
        start->outcome.emplace(co_await start->environment.spawn_pool.run_on(std::move(paths), job));
    } catch (...) {
        start->failure = std::current_exception();
    }
    start->ended = true;
    start->changed.notify();
    if (start->given_up == 0) co_return;
    // Nobody has waited for this.
    if (start->failure || !*start->outcome) {
        start->environment.reaper.end_failed_spawn();
        if (start->failure) std::rethrow_exception(start->failure);
        co_return;
    }
    make(start->environment, std::move(**start->outcome), nullptr, start->marker, false)
        ->start_terminating(Milliseconds(0));
}

Task<boost::system::result<std::shared_ptr<Command>, CommandError>> Command::start(
    CommandEnvironment& environment, CommandSpec spec, std::shared_ptr<OutputSink> sink, StartRule rule,
    PendingStart* pending) {
    std::string marker = uuid_v4();
    const Milliseconds timeout = spec.timeout;
    const Clock::time_point asked = Clock::now();
    environment.reaper.begin_spawn();
    const bool launched = rule == StartRule::at_the_end && can_launch(environment, spec);
    std::optional<SpawnOutcome> spawned;
    std::exception_ptr failure;
    if (launched) {
        try {
            spawned.emplace(launch_command(environment, spec, marker));
        } catch (...) {
            failure = std::current_exception();
        }
    } else {
        auto start = std::make_shared<Start>(environment, std::move(spec), marker);
        if (pending != nullptr) pending->changed_ = &start->changed;
        spawn_task(environment.loop, "start of a command", spawn_on_pool(start));
        std::optional<CommandError::Kind> left;
        while (!start->ended && !left) {
            const auto rest = std::chrono::ceil<Milliseconds>(asked + timeout - Clock::now());
            if (pending != nullptr && pending->given_up_) {
                left = CommandError::Kind::given_up;
            } else if (timeout.count() == 0) {
                co_await start->changed.wait();
            } else if (rest.count() > 0) {
                (void)co_await start->changed.wait_for(rest);
            } else {
                left = CommandError::Kind::timed_out;
            }
        }
        if (pending != nullptr) pending->changed_ = nullptr;
        if (left) {
            __atomic_store_n(&start->given_up, 1, __ATOMIC_RELEASE);
            const bool expired = *left == CommandError::Kind::timed_out;
            co_return CommandError{
                *left, {Errc::cancelled, expired ? "timed out while it was being started" : "given up", 0}};
        }
        spawned = std::move(start->outcome);
        failure = start->failure;
    }
    if (failure) {
        environment.reaper.end_failed_spawn();
        std::rethrow_exception(failure);
    }
    if (!*spawned) {
        environment.reaper.end_failed_spawn();
        co_return spawned->error();
    }
    std::shared_ptr<Command> self =
        make(environment, std::move(**spawned), std::move(sink), std::move(marker), launched);
    self->impl_->started = asked;
    try {
        self->begin(launched, timeout);
    } catch (...) {
        self->start_terminating(Milliseconds(0));
        throw;
    }
    co_return self;
}

// Its output, and its timeout.
void Command::begin(bool launched, Milliseconds timeout) {
    if (launched && impl_->sink && !impl_->exit) {
        impl_->unattended = true;
        impl_->look_timer.start(kFirstLook, [weak = std::weak_ptr(shared_from_this())] {
            if (auto command = weak.lock()) command->attend();
        });
    } else if (impl_->sink) {
        start_pumps();
    }
    // Such a child has done it itself, if it may: before the execve what we are is root's in /proc.
    if (!launched && ::geteuid() != 0) raise_oom_score_later(kFirstLook);
    if (timeout.count() == 0 || impl_->exit) return;
    const auto rest = std::chrono::ceil<Milliseconds>(impl_->started + timeout - Clock::now());
    impl_->timeout_timer.start(std::max(rest, Milliseconds(0)), [weak = std::weak_ptr(shared_from_this())] {
        auto command = weak.lock();
        if (!command || command->has_ended()) return;
        command->impl_->timed_out = true;
        command->start_terminating(command->impl_->environment.kill_grace);
    });
}

// Waiting for a pipe costs six system calls and a wake-up before that of the end. What has ended at the first
// look is read once instead.
void Command::attend() {
    if (!std::exchange(impl_->unattended, false)) return;
    start_pumps();
    if (!impl_->exit) raise_oom_score(kFirstLook);
    impl_->changed.notify();
}

// What is launched cannot do it before its execve: it shares our memory until then, and the kernel would
// raise ours, too (proc(5), oom_score_adj).
void Command::raise_oom_score(Milliseconds pause) {
    const int score = impl_->environment.oom_score_adj;
    if (score == 0 || set_oom_score_of_executed(pid(), score)) return;
    raise_oom_score_later(pause * 4);
}

void Command::raise_oom_score_later(Milliseconds pause) {
    if (pause > kLastOomLook) return;
    impl_->look_timer.start(pause, [weak = std::weak_ptr(shared_from_this()), pause] {
        auto command = weak.lock();
        if (command && !command->impl_->exit) command->raise_oom_score(pause);
    });
}

}  // namespace sandbox
