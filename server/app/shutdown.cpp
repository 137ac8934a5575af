#include "app/shutdown.hpp"

#include <signal.h>

#include "app/entrypoint.hpp"
#include "base/log.hpp"
#include "platform/process_tree.hpp"

namespace sandbox {

using Clock = std::chrono::steady_clock;

namespace {

constexpr std::chrono::milliseconds kLook{20};  // between two looks at what is left

}  // namespace

Shutdown::Shutdown(Parts parts) : parts_(std::move(parts)), wake_(parts_.loop) {}

void Shutdown::request() {
    if (requested_) {
        hurry_ = true;
        wake_.notify();
        return;
    }
    requested_ = true;
    log::info("Shutting down servers...");
    for (net::HttpServer* server : parts_.http) server->drain();
    parts_.begun();
    spawn_task(parts_.loop, "shutdown", run());
}

std::size_t Shutdown::running_requests() const {
    std::size_t running = 0;
    for (const net::HttpServer* server : parts_.http) running += server->running_requests();
    return running;
}

Task<std::optional<std::size_t>> Shutdown::signal_descendants(int signal) {
    pid_t spared = signal == SIGKILL ? 0 : parts_.entrypoint.pid();
    std::set<ProcessKey>* already = signal == SIGTERM ? &termed_ : nullptr;
    auto job = [signal, spared, already] { return sandbox::signal_descendants(signal, spared, already); };
    co_return co_await parts_.commands.work_pool.run(job);
}

// Until nothing is left to wait for, or the deadline, or a second signal.
Task<> Shutdown::wait_until(Clock::time_point deadline, bool for_requests) {
    while (!hurry_ && Clock::now() < deadline) {
        if (for_requests && running_requests() == 0) co_return;
        if (!for_requests && !parts_.entrypoint.running()) {
            const std::optional<std::size_t> left = co_await signal_descendants(0);
            if (left == 0) co_return;
        }
        auto rest = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
        co_await wake_.wait_for(std::clamp(rest, std::chrono::milliseconds(1), kLook));
    }
}

Task<> Shutdown::run() {
    const Clock::time_point start = Clock::now();
    const Clock::time_point term_at = start + parts_.budget * 6 / 10;
    const Clock::time_point kill_at = start + parts_.budget * 9 / 10;
    const Clock::time_point end = start + parts_.budget;
    co_await wait_until(term_at, true);
    // A command that is just being started has no number yet by which it could be spared; its signal waits
    // for it.
    while (parts_.entrypoint.starting() && Clock::now() < term_at) co_await wake_.wait_for(Milliseconds(1));
    auto grace = std::chrono::ceil<Milliseconds>(std::max(kill_at - Clock::now(), Clock::duration::zero()));
    parts_.processes.start_terminating_all(hurry_ ? Milliseconds(0) : grace);
    // The entrypoint command's children are its own to end; those that it leaves behind get their SIGTERM
    // then. It may end while the others are being signalled, so this is asked before.
    const bool leaves_some = parts_.entrypoint.running();
    if (!hurry_) co_await signal_descendants(SIGTERM);
    while (parts_.entrypoint.running() && !hurry_ && Clock::now() < kill_at) {
        auto rest = std::chrono::ceil<Milliseconds>(kill_at - Clock::now());
        co_await wake_.wait_for(std::max(rest, Milliseconds(1)));
    }
    if (!hurry_ && leaves_some) co_await signal_descendants(SIGTERM);
    co_await wait_until(kill_at, false);
    hurry_ = false;
    while (Clock::now() < end) {
        const std::optional<std::size_t> left = co_await signal_descendants(SIGKILL);
        if (left == 0 && !parts_.entrypoint.running()) break;
        co_await wake_.wait_for(kLook);
    }
    // Answers of requests whose commands have just ended.
    co_await wait_until(std::min(end, Clock::now() + std::chrono::milliseconds(200)), true);
    parts_.finished();
}

}  // namespace sandbox
