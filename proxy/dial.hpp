#pragma once
// Connecting to a port of this machine, without blocking and without a resolver.

#include <sys/socket.h>

#include <cstdint>

#include "base/unique_fd.hpp"

namespace sandbox::proxy {

enum class Family : std::uint8_t { v4, v6 };

constexpr Family other(Family family) { return family == Family::v4 ? Family::v6 : Family::v4; }

// A TCP socket under way to 127.0.0.1 or ::1: non-blocking, close-on-exec, TCP_NODELAY, keep-alive probes.
struct Dial {
    UniqueFd fd;
    int error = 0;  // 0: connected; EINPROGRESS: ask finish_dial() when it is writable; else why it failed
};

Dial start_dial(Family family, std::uint16_t port);

// Whether this machine has 127.0.0.1 or ::1. If it has, EADDRNOTAVAIL means of a dial that connections to
// that port have all the ports that one could connect from (ip_local_port_range in ip(7)).
bool has_loopback(Family family);

// The state of a dial that was in progress, as Dial::error. A socket that got connected to itself, which
// happens when nobody listens and the kernel picks the very port as the local one, counts as ECONNREFUSED.
int finish_dial(int fd, Family family, std::uint16_t port);

}  // namespace sandbox::proxy
