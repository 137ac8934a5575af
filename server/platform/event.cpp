#include "platform/event.hpp"

#include <boost/asio/steady_timer.hpp>

#include "platform/wake_queue.hpp"

namespace sandbox {

namespace asio = boost::asio;
using SteadyTimer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                               asio::wait_traits<std::chrono::steady_clock>, Executor>;

struct Event::Impl {
    explicit Impl(Loop& l) : loop(l), queue(WakeQueue::of(l)) {}
    Loop& loop;
    WakeQueue& queue;
    Waiter::List waiters;
};

Event::Event(Loop& loop) : impl_(std::make_unique<Impl>(loop)) {}
Event::~Event() = default;

Task<> Event::wait() {
    Waiter waiter;
    co_await impl_->queue.park(waiter, &impl_->waiters);
}

Task<bool> Event::wait_for(std::chrono::milliseconds timeout) {
    Waiter waiter;
    WakeQueue& queue = impl_->queue;
    Timer timer(impl_->loop);
    timer.start(timeout, [&queue, &waiter] { queue.wake(waiter, false); });
    co_return co_await queue.park(waiter, &impl_->waiters);
}

void Event::notify() { impl_->queue.wake_all(impl_->waiters); }

struct Timer::Impl {
    explicit Impl(Loop& loop) : timer(loop) {}
    SteadyTimer timer;
    std::function<void()> action;
    unsigned generation = 0;
};

Timer::Timer(Loop& loop) : impl_(std::make_shared<Impl>(loop)) {}
Timer::~Timer() { cancel(); }

void Timer::start(std::chrono::milliseconds delay, std::function<void()> action) {
    cancel();
    impl_->action = std::move(action);
    impl_->timer.expires_after(delay);
    impl_->timer.async_wait([impl = impl_, mine = impl_->generation](boost::system::error_code) {
        if (impl->generation != mine) return;
        ++impl->generation;
        auto run = std::move(impl->action);
        impl->action = nullptr;
        run();
    });
}

void Timer::cancel() {
    ++impl_->generation;
    impl_->action = nullptr;
    impl_->timer.cancel();
}

Task<> sleep_for(Loop& loop, std::chrono::milliseconds delay) {
    Waiter waiter;
    WakeQueue& queue = WakeQueue::of(loop);
    Timer timer(loop);
    timer.start(delay, [&queue, &waiter] { queue.wake(waiter, false); });
    co_await queue.park(waiter, nullptr);
}

}  // namespace sandbox
