#pragma once
// Listening TCP sockets, and accepting from them without ever spinning or giving up.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "platform/loop.hpp"

namespace sandbox {

struct ListenOptions {
    int backlog = 4096;          // the kernel caps it at net.core.somaxconn
    bool loopback_only = false;  // 127.0.0.1 and nothing else
    bool ipv6 = true;            // false: behave as on a machine without IPv6
};

// The port that `text` names: decimal 0..65535, or a service name as in /etc/services, with the common ones
// known without that file. Error: invalid_argument, "invalid port \"x\"". Reads a file at most once, at
// start-up.
Result<std::uint16_t> resolve_port(std::string_view text);

// A listening socket on all addresses of both families ([::] with IPV6_V6ONLY off), or on 0.0.0.0 where there
// is no IPv6. `port` as resolve_port() takes it; "0" lets the kernel choose. Non-blocking, close-on-exec,
// SO_REUSEADDR (not SO_REUSEPORT, which would hide a second daemon). TCP_NODELAY and keep-alive probes are
// set on it, because Linux lets accepted sockets inherit both. Errors: "listen 3030: address already in use".
Result<UniqueFd> listen_tcp(std::string_view port, const ListenOptions& options = {});

// The local port of a socket; 0 when it has none.
std::uint16_t bound_port(int fd);

// Probes a silent peer every `seconds` (tcp(7)), best effort. A peer that is gone shows as ETIMEDOUT.
void set_keepalive(int fd, int seconds = 15);

// "192.0.2.1:4711", "[2001:db8::1]:4711"; an IPv4 client of a dual-stack socket shows as IPv4. "" when
// unconnected.
std::string peer_text(int fd);

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
