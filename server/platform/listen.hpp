#pragma once
// Listening TCP sockets.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/unique_fd.hpp"

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

}  // namespace sandbox
