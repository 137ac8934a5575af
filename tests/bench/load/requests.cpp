// bench_requests PORT CONNECTIONS SECONDS MAX REQUEST EXPECTED
// Sends the file REQUEST again and again over keep-alive connections, each waiting for its answer, for
// SECONDS or until MAX answers have come. Every answer must be 2xx and hold EXPECTED at the end of its body.

#include <sys/epoll.h>

#include "answer.hpp"

namespace bench {
namespace {

struct Connection {
    int fd = -1;
    Clock::time_point sent;
    Answer answer;
};

struct Load {
    std::string request;
    std::string expected;
    std::size_t max;
    Clock::time_point deadline;
    std::vector<float> latencies;

    bool over(Clock::time_point now) const { return latencies.size() >= max || now >= deadline; }

    void send_request(Connection& connection) {
        connection.answer.reset();
        connection.sent = Clock::now();
        send_all(connection.fd, request);
    }

    // Reads once; true when the answer is complete, and counted.
    bool receive(Connection& connection) {
        char buffer[16384];
        const ssize_t size = recv(connection.fd, buffer, sizeof buffer, 0);
        if (size < 0 && errno == EINTR) return false;
        if (size <= 0) fail("the connection was lost");
        if (!connection.answer.feed(std::string_view(buffer, static_cast<std::size_t>(size)))) return false;
        const Clock::time_point now = Clock::now();
        if (connection.answer.status() / 100 != 2 ||
            connection.answer.tail().find(expected) == std::string_view::npos)
            fail("status " + std::to_string(connection.answer.status()) + ": " +
                 std::string(connection.answer.tail()));
        latencies.push_back(std::chrono::duration<float>(now - connection.sent).count());
        return true;
    }
};

void run_one(Load& load, Connection& connection) {
    while (!load.over(Clock::now())) {
        load.send_request(connection);
        while (!load.receive(connection)) {
        }
    }
}

void run_many(Load& load, std::vector<Connection>& connections) {
    const int poll = epoll_create1(EPOLL_CLOEXEC);
    for (std::size_t i = 0; i < connections.size(); ++i) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u64 = i;
        if (epoll_ctl(poll, EPOLL_CTL_ADD, connections[i].fd, &event) != 0) fail_errno("epoll_ctl");
        load.send_request(connections[i]);
    }
    std::size_t busy = connections.size();
    epoll_event events[64];
    while (busy > 0) {
        const int count = epoll_wait(poll, events, 64, 30'000);
        if (count <= 0) fail("no answer within 30 s");
        for (int i = 0; i < count; ++i) {
            Connection& connection = connections[events[i].data.u64];
            if (!load.receive(connection)) continue;
            if (load.over(Clock::now()))
                --busy;
            else
                load.send_request(connection);
        }
    }
    close(poll);
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
    using namespace bench;
    if (argc != 7) fail("usage: bench_requests PORT CONNECTIONS SECONDS MAX REQUEST EXPECTED");
    raise_descriptor_limit();
    Load load{read_file(argv[5]), argv[6], static_cast<std::size_t>(number(argv[4])), {}, {}};
    std::vector<Connection> connections(static_cast<std::size_t>(number(argv[2])));
    for (Connection& connection : connections) connection.fd = connect_to(number(argv[1]));
    load.latencies.reserve(load.max);
    const Clock::time_point begin = Clock::now();
    load.deadline = begin + std::chrono::duration_cast<Clock::duration>(
                                std::chrono::duration<double>(std::atof(argv[3])));
    if (connections.size() == 1)
        run_one(load, connections.front());
    else
        run_many(load, connections);
    print_latencies(std::move(load.latencies), seconds_since(begin));
}
