#pragma once

#include <boost/asio/async_result.hpp>
#include <cstdint>
#include <functional>
#include <optional>

#include "base/error.hpp"
#include "platform/loop.hpp"
#include "platform/poller.hpp"

namespace sandbox {

// The readiness of one descriptor for the coroutine that reads from or writes to it. Loop thread.
class Readiness final : private Poller::Watcher {
  public:
    explicit Readiness(Loop& loop) : loop_(loop) {}
    ~Readiness() { stop(); }
    Readiness(const Readiness&) = delete;
    Readiness& operator=(const Readiness&) = delete;

    // `fd` is non-blocking and stays the caller's, who calls stop() when he closes it. Errors: as of
    // epoll_ctl(2).
    Result<> start(int fd);
    // Whoever waits goes on later, from the loop, and is told false.
    void stop();
    bool started() const { return poller_ != nullptr; }

    // Whether a read may find something: bytes, an end, or an error.
    bool readable() const { return readable_; }
    // A read found nothing (EAGAIN), or took everything: fewer bytes than it had room for.
    void drained() { readable_ = false; }
    void took_all() { readable_ = sticky_; }

    // Suspend until a read, or a write that found no room, may be tried again; each for one at a time. False:
    // there is no telling, because it is not or no longer started.
    Task<bool> wait_readable();
    Task<bool> wait_writable();
    // Wakes who waits to write, and tells him false.
    void interrupt_writer();

    // Runs `action` each time when there may be something to read, until it is replaced by an empty one. It
    // must not destroy this object.
    void on_readable(std::function<void()> action) { action_ = std::move(action); }

  private:
    using Waiter = std::optional<
        boost::asio::async_result<boost::asio::use_awaitable_t<Executor>, void(bool)>::handler_type>;

    void ready(std::uint32_t events) override;
    void abandon() override;
    static Waiter take(Waiter& waiter);
    void wake_later(Waiter& waiter, bool told);

    Loop& loop_;
    Poller* poller_ = nullptr;  // while started
    int fd_ = -1;
    std::uint64_t key_ = 0;
    bool readable_ = false;
    bool sticky_ = false;  // an end, an error or urgent data: there may be more behind a read that was short
    Waiter reader_;
    Waiter writer_;
    std::function<void()> action_;
};

}  // namespace sandbox
