// bench_bare_http [PORT]
// The floor of /health: one thread, epoll, read, write of a fixed answer, nothing parsed but the end of the
// head. Without PORT it takes a free one and prints it. Ends with its standard input, or by a signal.

#include <sys/epoll.h>

#include "tools.hpp"

namespace bench {
namespace {

constexpr std::string_view kAnswer =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Thu, 01 Jan 1970 00:00:00 "
    "GMT\r\nContent-Length: 15\r\n\r\n"
    "{\"status\":\"ok\"}";

int listen_on(long port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const sockaddr_in address = loopback(port);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(fd, 4096) != 0)
        fail_errno("listen");
    return fd;
}

void add(int poll, int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
    using namespace bench;
    raise_descriptor_limit();
    const int listener = argc > 1 ? listen_on(number(argv[1])) : listen_and_print_port();
    const int poll = epoll_create1(EPOLL_CLOEXEC);
    add(poll, listener);
    if (argc <= 1) add(poll, 0);
    epoll_event events[64];
    char buffer[16384];
    for (;;) {
        const int count = epoll_wait(poll, events, 64, -1);
        for (int i = 0; i < count; ++i) {
            const int fd = events[i].data.fd;
            if (fd == 0) return 0;
            if (fd == listener) {
                const int peer = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
                const int on = 1;
                setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                if (peer >= 0) add(poll, peer);
                continue;
            }
            const ssize_t size = recv(fd, buffer, sizeof buffer, 0);
            if (size <= 0) {
                close(fd);
            } else if (std::string_view(buffer, static_cast<std::size_t>(size)).find("\r\n\r\n") !=
                       std::string_view::npos) {
                send_all(fd, kAnswer);
            }
        }
    }
}
