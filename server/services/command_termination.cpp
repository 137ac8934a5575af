// The end of a command's tree, and signals to it.

#include <optional>
#include <set>

#include "base/log.hpp"
#include "base/on_exit.hpp"
#include "services/command_impl.hpp"

namespace sandbox {
namespace {

using Clock = std::chrono::steady_clock;

constexpr Milliseconds kAfterKill{5000};
constexpr Milliseconds kLookup{200};  // for the first look at a tree, before its leader is signalled

}  // namespace

void Command::start_terminating(Milliseconds grace) {
    Impl& impl = *impl_;
    Clock::time_point kill_at = Clock::now() + grace;
    if (impl.terminating) {
        impl.kill_at = std::min(impl.kill_at, kill_at);
        impl.changed.notify();
        return;
    }
    auto self = shared_from_this();
    impl.terminating = true;
    impl.kill_at = kill_at;
    try {
        if (!has_ended()) impl.killed_by_us = true;
        // A cgroup loses nobody, so the leader may go at once. Without one, those who only hang on it by
        // their parent link are looked up first; a machine too busy for that does not hold up the kill.
        if (impl.cgroup) {
            impl.signal_group();
        } else {
            impl.group_timer.start(kLookup, [self] { self->impl_->signal_group(); });
        }
        spawn_task(impl.environment.loop, "end of a tree", run_termination(self));
    } catch (...) {
        impl.terminating = false;  // Nobody is to wait for what does not run.
        impl.changed.notify();
        throw;
    }
}

Task<> Command::run_termination(std::shared_ptr<Command> self) {
    Impl& impl = *self->impl_;
    impl.outcome = KillOutcome::survivors;  // as far as is known until it is over
    auto over = [&impl] {
        impl.terminating = false;
        impl.terminated = true;
        impl.changed.notify();
    };
    const OnExit told(over);
    std::set<ProcessKey> termed;
    bool seen_living = !impl.exit;
    bool out_of_sight = false;  // Who hung on the leader by their parent link only may live unknown to us.
    Milliseconds pause{2};
    std::optional<Clock::time_point> give_up;
    if (!impl.cgroup) {
        const bool untouched = !impl.exit && !impl.tree.group_termed;
        for (;;) {
            const bool in_time = !impl.tree.group_termed;
            TreeId tree = impl.tree;
            auto look = [&tree, &termed] { return signal_tree(tree, nullptr, 0, termed); };
            const std::optional<std::size_t> living = co_await impl.environment.work_pool.run(look);
            impl.tree.known = std::move(tree.known);
            if (living != 0) seen_living = true;
            if (living || impl.exit || impl.tree.group_termed) {
                out_of_sight = untouched && impl.tree.group_termed && !(living && in_time);
                break;
            }
            co_await impl.changed.wait_for(pause);
        }
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
        const std::optional<std::size_t> living = co_await impl.environment.work_pool.run(job);
        impl.tree.known = std::move(tree.known);
        if (living != 0 || !impl.exit) seen_living = true;
        // The dead are gone for good: whoever asks for their numbers next finds nothing.
        if (living == 0) impl.environment.reaper.sweep();
        if (living == 0 && impl.exit && !out_of_sight) {
            impl.outcome = seen_living ? KillOutcome::gone : KillOutcome::nothing_left;
            break;
        }
        const bool nobody_known = living == 0 && impl.exit;  // and nobody will be
        if (nobody_known || (give_up && Clock::now() >= *give_up)) {
            impl.outcome = KillOutcome::survivors;
            if (living && !nobody_known) {
                log::error("processes survive SIGKILL", {{"pid", impl.tree.leader}, {"living", *living}});
            } else {
                log::error("processes may survive: they could not be looked at", {{"pid", impl.tree.leader}});
            }
            break;
        }
        auto until_kill = std::chrono::ceil<Milliseconds>(impl.kill_at - Clock::now());
        Milliseconds nap = killing ? pause : std::clamp(until_kill, Milliseconds(1), pause);
        co_await impl.changed.wait_for(nap);
        pause = std::min(pause * 2, Milliseconds(50));
    }
    impl.terminating = false;
    impl.give_back_cgroup();
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
    if (number > 0 && number <= 64)
        impl.signals_sent |= std::uint64_t{1} << static_cast<unsigned>(number - 1);
    if (!tree) {
        if (has_ended()) co_return Error{Errc::failed_precondition, "process is not running", ESRCH};
        if (::kill(impl.tree.leader, number) != 0) co_return sys_error("signal", errno);
        co_return Result<>();
    }
    TreeId id = impl.tree;
    const Cgroup* cgroup = impl.cgroup.get();
    auto job = [&id, cgroup, number] {
        std::set<ProcessKey> signalled;
        return signal_tree(id, cgroup, number, signalled);
    };
    ++impl.tree_jobs;
    const std::optional<std::size_t> living = co_await impl.environment.work_pool.run(job);
    --impl.tree_jobs;
    if (impl.exit) impl.give_back_cgroup();
    if (!living) co_return Error{Errc::resource_exhausted, "cannot look at the processes"};
    if (living == 0) co_return Error{Errc::failed_precondition, "process is not running", ESRCH};
    co_return Result<>();
}

}  // namespace sandbox
