#include "platform/wake_queue.hpp"

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <utility>

#include "base/on_exit.hpp"

namespace sandbox {

namespace asio = boost::asio;

asio::execution_context::id WakeQueue::id;

WakeQueue& WakeQueue::of(Loop& loop) { return asio::use_service<WakeQueue>(loop); }

WakeQueue::WakeQueue(Loop& loop) : service(loop), loop_(loop) {}

// Not a coroutine: a frame less for each wait.
Task<bool> WakeQueue::park(Waiter& waiter, Waiter::List* list) {
    auto initiate = [this, &waiter, list](auto handler) {
        waiter.handler_.emplace(std::move(handler));
        waiting_.push_back(waiter);
        if (list != nullptr) list->push_back(waiter);
    };
    return asio::async_initiate<const asio::use_awaitable_t<Executor>&, void(bool)>(initiate, use_task);
}

void WakeQueue::wake(Waiter& waiter, bool told) {
    if (!waiter.handler_ || std::exchange(waiter.woken_, true)) return;
    waiter.place_.unlink();
    waiter.told_ = told;
    woken_.push_back(waiter);
    arm();
}

void WakeQueue::wake_all(Waiter::List& list) {
    if (list.empty()) return;
    for (Waiter& waiter : list) waiter.woken_ = waiter.told_ = true;
    woken_.splice(woken_.end(), list);
    arm();
}

void WakeQueue::arm() {
    if (std::exchange(armed_, true)) return;
    asio::post(loop_, [this] { run(); });
}

void WakeQueue::run() {
    armed_ = false;
    Waiter::List turn;  // Who is woken meanwhile has the next one.
    turn.swap(woken_);
    auto keep_rest = [this, &turn] {
        woken_.splice(woken_.begin(), turn);
        if (!woken_.empty()) arm();
    };
    const OnExit kept(keep_rest);
    while (!turn.empty()) {
        Waiter& waiter = turn.front();
        turn.pop_front();
        const bool told = waiter.told_;
        auto handler = take(waiter);
        std::move (*handler)(told);
    }
}

std::optional<Waiter::Handler> WakeQueue::take(Waiter& waiter) {
    waiter.among_all_.unlink();
    std::optional<Waiter::Handler> taken;
    taken.emplace(std::move(*waiter.handler_));
    waiter.handler_.reset();
    return taken;
}

void WakeQueue::shutdown() {
    // With each goes its coroutine, and the waiter with that.
    while (!waiting_.empty()) take(waiting_.front());
}

}  // namespace sandbox
