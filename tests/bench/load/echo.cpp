// bench_echo
// What stands behind a forwarder: one thread that sends back what comes, until the end of the stream; then it
// closes. Takes a free port, prints it, and ends with its standard input.

#include <sys/epoll.h>

#include "tools.hpp"

int main() {
    using namespace bench;
    raise_descriptor_limit();
    const int listener = listen_and_print_port();
    const int poll = epoll_create1(EPOLL_CLOEXEC);
    const auto add = [poll](int fd) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = fd;
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
    };
    add(listener);
    add(0);
    epoll_event events[64];
    char buffer[16384];
    for (;;) {
        const int count = epoll_wait(poll, events, 64, -1);
        for (int i = 0; i < count; ++i) {
            const int fd = events[i].data.fd;
            if (fd == 0) return 0;
            if (fd == listener) {
                const int peer = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (peer >= 0) add(peer);
                continue;
            }
            const ssize_t size = recv(fd, buffer, sizeof buffer, 0);
            if (size <= 0) {
                close(fd);
            } else if (send(fd, buffer, static_cast<std::size_t>(size), MSG_NOSIGNAL) != size) {
                close(fd);  // Only small messages go through here; one that is stuck is no echo.
            }
        }
    }
}
