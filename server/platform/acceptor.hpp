#pragma once
// Accepting from a listening socket without ever spinning or giving up.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/unique_fd.hpp"
#include "platform/loop.hpp"

namespace sandbox {

// Accepts for one coroutine at a time, on the loop thread. A client that is gone before it was accepted is
// skipped. Out of descriptors or memory it pauses, 5 ms doubling up to 1 s, and goes on when there are some
// again; clients wait in the backlog meanwhile. The log gets one line for the start and one for the end of
// such an episode.
class Acceptor {
  public:
    struct Counters {
        std::uint64_t accepted = 0;
        std::uint64_t pauses = 0;    // back-off waits
        std::uint64_t episodes = 0;  // runs of them
    };

    // `name` stands in the log. `spare` descriptors are held back and given up one by one when none is left,
    // so that this listener can serve a few more connections than others who run out; they are taken back
    // when there are descriptors again. When even those are gone `make_room`, if there is one, is asked to
    // end a connection that can be spared; true: one goes soon.
    Acceptor(Loop& loop, UniqueFd listener, std::string name, std::size_t spare = 0,
             std::function<bool()> make_room = nullptr);
    // Stops. accept() may still be suspended: it then returns an empty descriptor, and touches nothing that
    // died.
    ~Acceptor();
    Acceptor(const Acceptor&) = delete;
    Acceptor& operator=(const Acceptor&) = delete;

    // The next connection: non-blocking, close-on-exec, with the listener's options. Empty once stopped.
    // Lets the loop do other work now and then, also when connections never stop coming.
    Task<UniqueFd> accept();

    // Closes the listener: new connects are refused, those in the backlog are reset, accept() returns empty.
    void stop();

    std::uint16_t port() const;
    const Counters& counters() const;

  private:
    struct Impl;
    static Task<UniqueFd> next(std::shared_ptr<Impl> impl);
    std::shared_ptr<Impl> impl_;
};

}  // namespace sandbox
