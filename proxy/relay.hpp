#pragma once
// One proxied connection: bytes from socket to socket by splice(2), with half-closes and resets carried over.
//
// A Relay does no waiting of its own. Its owner reports what epoll said (edge-triggered, EPOLLIN, EPOLLOUT,
// EPOLLRDHUP and EPOLLPRI) and calls advance() until it says idle. Not thread-safe. SIGPIPE must be blocked
// or ignored in the process.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "base/unique_fd.hpp"
#include "proxy/pipe_pool.hpp"

namespace sandbox::proxy {

// A socket and what is known of it: a flag once set holds until a call says EAGAIN.
struct Endpoint {
    UniqueFd fd;
    bool readable = false;
    bool writable = false;
    bool peer_done = false;  // a FIN or worse has been seen: reading goes on until it shows
    bool urgent = false;     // urgent data was sent, where splice(2) gets stuck
    bool failed = false;     // reset, or timed out

    // Takes over the events of an epoll_wait(2).
    void note(std::uint32_t events);
};

// One direction.
class Channel {
  public:
    enum class Outcome {
        idle,           // waits for the source or for the sink
        more,           // the budget is used up
        finished,       // the source's end came, and all before it was passed on
        source_failed,  // as finished, but the end was no orderly one
        sink_failed,    // the sink takes no more
    };

    // Passes on up to about `budget` bytes. At most one pipe of bytes is under way; with the sink blocked
    // nothing more is read.
    Outcome pump(Endpoint& source, Endpoint& sink, PipePool& pool, std::size_t budget);
    // Throws away what is under way. pump() must not be called any more.
    void drop();

    std::uint64_t moved() const { return moved_; }
    bool holds_bytes() const { return held_ > 0; }
    // For systems without splice(2) between sockets and pipes, and for tests.
    void copy_always() { copying_ = true; }

  private:
    long fill(Endpoint& source, PipePool& pool);
    long fill_by_copy(Endpoint& source, std::size_t room);
    long drain(Endpoint& sink);
    bool pipe_to_memory();

    std::optional<Pipe> pipe_;        // while bytes are in it
    std::unique_ptr<char[]> memory_;  // the same for copied bytes, from offset_ on
    std::size_t offset_ = 0;
    std::size_t held_ = 0;  // bytes in the pipe or in memory
    std::uint64_t moved_ = 0;
    bool copying_ = false;
    bool small_ = true;  // the last bytes were few, so the next are copied, too
    enum class End : std::uint8_t { none, orderly, failure } end_ = End::none;
};

class Relay {
  public:
    enum class State { idle, more, ended };

    Relay(UniqueFd client, PipePool& pool) : pool_(&pool) { client_.fd = std::move(client); }
    Relay(const Relay&) = delete;
    Relay& operator=(const Relay&) = delete;

    Endpoint& client() { return client_; }
    Endpoint& target() { return target_; }

    // Passes on what can be passed on, up to `budget` bytes each way. Both endpoints must be connected. After
    // `ended` both sockets are closed.
    State advance(std::size_t budget);

    // Ends it from outside. A peer that would miss bytes gets a reset, so that it cannot take a part for the
    // whole.
    void end();

    // Ends the client's side with a reset: the target has made one before it got here.
    void reset_client();

    void copy_always();
    bool was_reset() const { return reset_; }
    std::uint64_t bytes_to_target() const { return up_.moved(); }
    std::uint64_t bytes_to_client() const { return down_.moved(); }

  private:
    struct Way {
        Channel& channel;
        Endpoint& source;
        Endpoint& sink;
        bool& done;
    };
    bool advance(const Way& way, std::size_t budget);
    State finish(bool reset);

    PipePool* pool_;
    Endpoint client_;
    Endpoint target_;
    Channel up_;    // client to target
    Channel down_;  // target to client
    bool up_done_ = false;
    bool down_done_ = false;
    bool reset_ = false;
};

}  // namespace sandbox::proxy
