#pragma once
// The TCP forwarder: everything that connects to it is relayed to the port of this machine that is bound at
// that moment, whether its listener is on 127.0.0.1 or on ::1.
//
// Without a binding a connection is accepted and closed after 100 ms, or as soon as the client sends
// something or half-closes. With a binding but without a listener it is closed at once. Out of descriptors,
// or of ports to connect from, it waits until there is one. There is no idle time-out: peers that vanished
// are found by keep-alive probes.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/unique_fd.hpp"
#include "platform/loop.hpp"
#include "services/port_binding.hpp"

namespace sandbox::proxy {

struct ForwarderOptions {
    // Connections at once, relayed or not; more wait in the backlog. Each takes 2 descriptors, and while
    // bytes are stuck in it up to 4 more.
    std::size_t max_connections = 10'000;
    // Size of the pipe that a direction may have full of bytes when its reader is slow.
    std::size_t pipe_bytes = 1024 * 1024;
    std::chrono::milliseconds unbound_close{100};
    bool ipv4 = true;  // families to dial
    bool ipv6 = true;
    bool splice = true;  // false: copy through memory, as on systems that cannot splice
};

struct ForwarderMetrics {
    std::uint64_t accepted = 0;
    std::uint64_t unbound = 0;      // closed for want of a binding
    std::uint64_t refused = 0;      // bound, but nobody listened
    std::uint64_t dial_errors = 0;  // other reasons
    std::uint64_t resets = 0;       // relays that ended with a reset of one side
    std::uint64_t pauses = 0;       // times that accepting or dialling waited for descriptors or ports
    std::uint64_t bytes_to_target = 0;
    std::uint64_t bytes_to_client = 0;
    std::size_t active = 0;  // connections now
};

// Loop thread. SIGPIPE must be blocked or ignored in the process, because splice(2) has no flag against it.
class Forwarder {
  public:
    // Takes over a listener as of listen_tcp() and starts. A change of `binding` ends the relays of the old
    // one. `loop` and `binding` must outlive it.
    Forwarder(Loop& loop, PortBinding& binding, UniqueFd listener, ForwarderOptions options = {});
    // As stop() and close_all().
    ~Forwarder();
    Forwarder(const Forwarder&) = delete;
    Forwarder& operator=(const Forwarder&) = delete;

    // Ends accepting: new connects are refused. Relays go on.
    void stop();
    // Ends every connection at once, idle or not.
    void close_all();

    std::uint16_t port() const;
    ForwarderMetrics metrics() const;

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace sandbox::proxy
