#pragma once
// Readiness of descriptors, told by edges (epoll(7), EPOLLET). Asio's own wait costs an epoll_ctl(2) each
// time; here a descriptor is registered once, and a wait is no system call. It is for what is waited for
// again and again: connections, relays, and the output of commands.

#include <boost/asio/execution_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <cstdint>
#include <functional>
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

}  // namespace sandbox
