#pragma once
// Coroutines that wait for each other, without a timer or a memory allocation for a wait or a wake-up: Asio
// begins a wait when its coroutine is suspended already, and what fails there ends the coroutine unseen.

#include <boost/asio/execution_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/intrusive/list.hpp>
#include <optional>

#include "platform/loop.hpp"

namespace sandbox {

// One coroutine that waits, in whose frame this is. Loop thread.
class Waiter {
  public:
    Waiter() = default;
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;

  private:
    friend class WakeQueue;
    using Hook =
        boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;
    using Handler =
        boost::asio::async_result<boost::asio::use_awaitable_t<Executor>, void(bool)>::handler_type;

    Hook among_all_;  // that wait
    Hook place_;      // in a list of waiters, then in the queue of those that are to go on
    std::optional<Handler> handler_;
    bool woken_ = false;  // already; the first wake-up counts
    bool told_ = false;

  public:
    using List = boost::intrusive::list<Waiter, boost::intrusive::member_hook<Waiter, Hook, &Waiter::place_>,
                                        boost::intrusive::constant_time_size<false>>;
};

// One for each loop.
class WakeQueue final : public boost::asio::execution_context::service {
  public:
    using key_type = WakeQueue;
    static boost::asio::execution_context::id id;

    static WakeQueue& of(Loop& loop);
    explicit WakeQueue(Loop& loop);

    // Suspends the caller, in whose frame `waiter` is, until it is woken; returns what wake() was given.
    // `list`, if any, has the waiter meanwhile, and may go before it.
    Task<bool> park(Waiter& waiter, Waiter::List* list);
    // It goes on later, from the loop. All of `list`, in their order.
    void wake(Waiter& waiter, bool told);
    void wake_all(Waiter::List& list);

  private:
    using All =
        boost::intrusive::list<Waiter,
                               boost::intrusive::member_hook<Waiter, Waiter::Hook, &Waiter::among_all_>,
                               boost::intrusive::constant_time_size<false>>;

    void shutdown() override;
    void arm();
    void run();
    static std::optional<Waiter::Handler> take(Waiter& waiter);

    Loop& loop_;
    All waiting_;
    Waiter::List woken_;
    bool armed_ = false;
};

}  // namespace sandbox
