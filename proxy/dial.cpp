#include "proxy/dial.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>

#include "platform/listen.hpp"

namespace sandbox::proxy {
namespace {

// Of what is on its way to a server (the kernel counts twice as much, socket(7)). Left to itself it grows to
// megabytes, which on loopback buys nothing: a stream waits for its reader in either case, and what waits
// leaves the caches. net.core.wmem_max (socket(7)) may allow less. Measured in docs/performance.md.
constexpr int kSendBuffer = 1024 * 1024;

union Address {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
};

socklen_t loopback(Family family, std::uint16_t port, Address& out) {
    out = Address{};
    if (family == Family::v4) {
        out.v4.sin_family = AF_INET;
        out.v4.sin_port = htons(port);
        out.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return sizeof out.v4;
    }
    out.v6.sin6_family = AF_INET6;
    out.v6.sin6_port = htons(port);
    out.v6.sin6_addr = in6addr_loopback;
    return sizeof out.v6;
}

}  // namespace

bool has_loopback(Family family) {
    const UniqueFd any(::socket(family == Family::v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;  // Of the address alone: no port is taken for it.
    if (!any || ::setsockopt(any.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) != 0)
        return false;
    Address address;
    const socklen_t size = loopback(family, 0, address);
    return ::bind(any.get(), &address.any, size) == 0;
}

Dial start_dial(Family family, std::uint16_t port) {
    Dial dial;
    int domain = family == Family::v4 ? AF_INET : AF_INET6;
    dial.fd.reset(::socket(domain, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!dial.fd) {
        dial.error = errno;
        return dial;
    }
    int on = 1;
    (void)::setsockopt(dial.fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)::setsockopt(dial.fd.get(), SOL_SOCKET, SO_SNDBUF, &kSendBuffer, sizeof kSendBuffer);
    set_keepalive(dial.fd.get());
    dial.error = finish_dial(dial.fd.get(), family, port);
    // On loopback the handshake is over by now, or refused: asking once more spares a trip through the loop.
    if (dial.error == EINPROGRESS) dial.error = finish_dial(dial.fd.get(), family, port);
    if (dial.error != 0 && dial.error != EINPROGRESS) dial.fd.reset();
    return dial;
}

int finish_dial(int fd, Family family, std::uint16_t port) {
    Address target;
    socklen_t size = loopback(family, port, target);
    // A repeated connect(2) tells the state of the first: EALREADY, 0 or EISCONN, or the failure.
    if (::connect(fd, &target.any, size) != 0 && errno != EISCONN) {
        return errno == EALREADY || errno == EINTR ? EINPROGRESS : errno;
    }
    return bound_port(fd) == port ? ECONNREFUSED : 0;
}

}  // namespace sandbox::proxy
