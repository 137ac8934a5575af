// bench_connections PORT AT_ONCE SECONDS MAX
// Connects, sends a byte, waits for its echo and for the end of the stream, closes; AT_ONCE at a time, for
// SECONDS or until MAX are done.

#include <sys/epoll.h>

#include "tools.hpp"

namespace bench {
namespace {

struct Connection {
    int fd = -1;
    Clock::time_point begin;
    bool connected = false;
    bool echoed = false;
};

void open(int poll, Connection& connection, std::size_t index, long port) {
    connection = Connection{};
    connection.begin = Clock::now();
    connection.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connection.fd < 0) fail_errno("socket");
    const sockaddr_in address = loopback(port);
    if (connect(connection.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
        errno != EINPROGRESS)
        fail_errno("connect");
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;
    event.data.u64 = index;
    if (epoll_ctl(poll, EPOLL_CTL_ADD, connection.fd, &event) != 0) fail_errno("epoll_ctl");
}

// True when it has seen the echo and the end.
bool proceed(Connection& connection) {
    if (!connection.connected) {
        connection.connected = true;
        send_all(connection.fd, "x");
    }
    char byte = 0;
    for (;;) {
        const ssize_t size = recv(connection.fd, &byte, 1, 0);
        if (size < 0 && errno == EAGAIN) return false;
        if (size < 0) fail_errno("recv");
        if (size == 0) {
            if (!connection.echoed) fail("closed without an echo");
            return true;
        }
        connection.echoed = true;
        shutdown(connection.fd, SHUT_WR);
    }
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
    using namespace bench;
    if (argc != 5) fail("usage: bench_connections PORT AT_ONCE SECONDS MAX");
    const long port = number(argv[1]);
    const auto max = static_cast<std::size_t>(number(argv[4]));
    std::vector<Connection> connections(static_cast<std::size_t>(number(argv[2])));
    std::vector<float> latencies;
    latencies.reserve(max);
    const int poll = epoll_create1(EPOLL_CLOEXEC);
    const Clock::time_point begin = Clock::now();
    const auto deadline = begin + std::chrono::duration_cast<Clock::duration>(
                                      std::chrono::duration<double>(std::atof(argv[3])));
    for (std::size_t i = 0; i < connections.size(); ++i) open(poll, connections[i], i, port);
    std::size_t busy = connections.size();
    epoll_event events[64];
    while (busy > 0) {
        const int count = epoll_wait(poll, events, 64, 30'000);
        if (count <= 0) fail("nothing within 30 s");
        for (int i = 0; i < count; ++i) {
            const std::size_t index = events[i].data.u64;
            Connection& connection = connections[index];
            if (!proceed(connection)) continue;
            const Clock::time_point now = Clock::now();
            latencies.push_back(std::chrono::duration<float>(now - connection.begin).count());
            close(connection.fd);
            if (now < deadline && latencies.size() + busy <= max)
                open(poll, connection, index, port);
            else
                --busy;
        }
    }
    print_latencies(std::move(latencies), seconds_since(begin));
}
