#pragma once
// Readiness of descriptors, told by edges (epoll(7), EPOLLET). Asio's own wait costs an epoll_ctl(2) each
// time; here a descriptor is registered once, and a wait is no system call. It is for what is waited for
// again and again: connections, relays, and the output of commands.

#include <boost/asio/execution_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "platform/loop.hpp"

namespace sandbox {

// One for each loop: all descriptors are in an epoll of its own, and only that one is waited for with Asio.
// Loop thread.
//
// A descriptor that was closed may go on having events: a child has copies of all of them from clone(2) to
// execve(2), and a file leaves an epoll with its last descriptor. So events carry a key that is never used
// twice, not a pointer.
class Poller final : public boost::asio::execution_context::service {
  public:
    using key_type = Poller;
    static boost::asio::execution_context::id id;

    class Watcher {
      public:
        // EPOLLIN and so on. May start and stop any watcher, itself too.
        virtual void ready(std::uint32_t events) = 0;
        // The loop is being destroyed: no event will come, and what waits is to be let go.
        virtual void abandon() = 0;

      protected:
        ~Watcher() = default;
    };

    // Made with its first use. Throws std::system_error when there is no descriptor for it.
    static Poller& of(Loop& loop);
    explicit Poller(Loop& loop);

    // From now on `watcher` is told of `events`, and first of those that are there already, until remove()
    // with what is returned. Errors: as of epoll_ctl(2); EPERM for regular files.
    Result<std::uint64_t> add(int fd, std::uint32_t events, Watcher& watcher);
    // Other events from now on; what is there already is told again.
    Result<> change(int fd, std::uint64_t watch, std::uint32_t events);
    // When `fd` is closed, which takes it from the epoll.
    void remove(std::uint64_t watch);
    // For a watcher within ready(): `action` runs once all watchers have been told of what came together.
    void after_turn(std::function<void()> action) { after_turn_.push_back(std::move(action)); }

  private:
    void shutdown() override;
    void wait();
    void turn();

    boost::asio::posix::basic_stream_descriptor<Executor> poll_;
    std::unordered_map<std::uint64_t, Watcher*> watchers_;
    std::vector<std::function<void()>> after_turn_;
    std::uint64_t last_key_ = 0;
    bool waiting_ = false;
};

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
