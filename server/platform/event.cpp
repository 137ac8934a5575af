#include "platform/event.hpp"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <list>

#include "base/on_exit.hpp"

namespace sandbox {

namespace asio = boost::asio;
using SteadyTimer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                               asio::wait_traits<std::chrono::steady_clock>, Executor>;

struct Event::Impl {
    explicit Impl(Loop& l) : loop(l), forever(l, SteadyTimer::time_point::max()) {}
    Loop& loop;
    SteadyTimer forever;            // all waiters without a deadline
    std::list<SteadyTimer*> timed;  // one each for waiters with a deadline; they live in the waiters' frames
};

Event::Event(Loop& loop) : impl_(std::make_unique<Impl>(loop)) {}
Event::~Event() = default;

Task<> Event::wait() {
    boost::system::error_code ignored;
    co_await impl_->forever.async_wait(asio::redirect_error(use_task, ignored));
}

Task<bool> Event::wait_for(std::chrono::milliseconds timeout) {
    SteadyTimer timer(impl_->loop, timeout);
    auto position = impl_->timed.insert(impl_->timed.end(), &timer);
    auto forget = [this, position] { impl_->timed.erase(position); };
    const OnExit forgotten(forget);
    boost::system::error_code ec;
    co_await timer.async_wait(asio::redirect_error(use_task, ec));
    co_return ec == asio::error::operation_aborted;
}

void Event::notify() {
    impl_->forever.cancel();
    for (SteadyTimer* timer : impl_->timed) timer->cancel();
}

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
    SteadyTimer timer(loop, delay);
    boost::system::error_code ignored;
    co_await timer.async_wait(asio::redirect_error(use_task, ignored));
}

}  // namespace sandbox
