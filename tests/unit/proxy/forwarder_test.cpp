#include "proxy/forwarder.hpp"

#include <fcntl.h>
#include <netinet/tcp.h>

#include <set>

#include "forwarder_fixture.hpp"
#include "proxy/dial.hpp"

namespace sandbox::proxy::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// Whether `fd` is the other end of a connected socket.
bool is_end_of(int fd, const Socket& socket) {
    sockaddr_storage peer{};
    sockaddr_storage own{};
    socklen_t size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return false;
    size = sizeof own;
    if (::getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&own), &size) != 0) return false;
    auto port = [](const sockaddr_storage& address) {
        return address.ss_family == AF_INET ? reinterpret_cast<const sockaddr_in&>(address).sin_port
                                            : reinterpret_cast<const sockaddr_in6&>(address).sin6_port;
    };
    return (peer.ss_family == AF_INET || peer.ss_family == AF_INET6) && port(peer) == port(own);
}

// Both ways of moving bytes must behave alike.
class RelayTest : public ForwarderTest, public testing::WithParamInterface<bool> {
  protected:
    ForwarderOptions options() const {
        ForwarderOptions options;
        options.splice = GetParam();
        return options;
    }
};
INSTANTIATE_TEST_SUITE_P(Ways, RelayTest, testing::Values(true, false),
                         [](const auto& way) { return way.param ? "Splice" : "Copy"; });

TEST_P(RelayTest, CarriesBytesBothWays) {
    Backend backend;
    start_bound(backend.port(), options());
    auto [client, server] = pair(backend);
    EXPECT_TRUE(client.send("question"));
    EXPECT_EQ(server.receive_exactly(8), "question");
    EXPECT_TRUE(server.send("answer"));
    EXPECT_EQ(client.receive_exactly(6), "answer");
    ForwarderMetrics seen = metrics();
    EXPECT_EQ(seen.accepted, 1u);
    EXPECT_EQ(seen.active, 1u);
    EXPECT_EQ(seen.bytes_to_target, 8u);
    EXPECT_EQ(seen.bytes_to_client, 6u);
}

// A child that is being spawned holds copies of all sockets until its execve, so closed ones have events
// still.
TEST_P(RelayTest, EventsOfClosedSocketsConcernNobody) {
    Backend backend;
    start_bound(backend.port(), options());
    for (int round = 0; round < 20; ++round) {
        auto [client, server] = pair(backend);
        std::vector<UniqueFd> copies;
        for (int fd : open_descriptors()) {
            if (fd != client.fd() && fd != server.fd() && (is_end_of(fd, client) || is_end_of(fd, server)))
                copies.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
        }
        ASSERT_EQ(copies.size(), 2u);
        bind(backend.port());  // ends the relay
        auto [fresh_client, fresh_server] = pair(backend);
        client.reset();
        server.reset();
        EXPECT_TRUE(fresh_client.send("question"));
        EXPECT_EQ(fresh_server.receive_exactly(8), "question");
        EXPECT_TRUE(fresh_server.send("answer"));
        EXPECT_EQ(fresh_client.receive_exactly(6), "answer");
    }
}

TEST_P(RelayTest, ServerMaySpeakFirst) {
    Backend backend;
    start_bound(backend.port(), options());
    auto [client, server] = pair(backend);
    EXPECT_TRUE(server.send("220 ready\r\n"));
    EXPECT_EQ(client.receive_exactly(11), "220 ready\r\n");
}

TEST_P(RelayTest, ClientHalfCloseKeepsTheAnswer) {
    Backend backend;
    start_bound(backend.port(), options());
    auto [client, server] = pair(backend);
    EXPECT_TRUE(client.send("request"));
    client.finish_sending();
    int error = -1;
    EXPECT_EQ(server.receive_all(error), "request");
    EXPECT_EQ(error, 0);
    std::string answer = pattern(1008, 1);
    EXPECT_TRUE(server.send(answer));
    server.close();
    EXPECT_EQ(client.receive_all(error), answer);
    EXPECT_EQ(error, 0);
    client.close();
    EXPECT_TRUE(all_relays_end());
    EXPECT_EQ(metrics().resets, 0u);
}

TEST_P(RelayTest, ServerHalfCloseKeepsWhatTheClientStillSends) {
    Backend backend;
    start_bound(backend.port(), options());
    auto [client, server] = pair(backend);
    server.finish_sending();
    EXPECT_EQ(client.end(), 0);
    std::string upload = pattern(300'000, 2);
    EXPECT_TRUE(client.send(upload));
    client.close();
    int error = -1;
    EXPECT_EQ(server.receive_all(error), upload);
    EXPECT_EQ(error, 0);
    EXPECT_TRUE(all_relays_end());
}

TEST_P(RelayTest, BytesAndHalfCloseSeenInOneEvent) {
    Backend backend;
    start_bound(backend.port(), options());
    auto [client, server] = pair(backend);
    EXPECT_TRUE(client.send("1"));
    EXPECT_EQ(server.receive_exactly(1), "1");
    // On the loop thread, so that the forwarder looks only when both have arrived.
    on_loop([&client = client] {
        bool sent = client.send("2");
        client.finish_sending();
        return sent;
    });
    int error = -1;
    EXPECT_EQ(server.receive_all(error), "2");
    EXPECT_EQ(error, 0);
}

TEST_P(RelayTest, HalfCloseBeforeTheServerAnswersAtAll) {
    Backend backend;
    start_bound(backend.port(), options());
    Socket client = connect();
    EXPECT_TRUE(client.send("x"));
    client.finish_sending();
    Socket server = backend.accept();
    int error = -1;
    EXPECT_EQ(server.receive_all(error), "x");
    EXPECT_TRUE(server.send("y"));
    server.close();
    EXPECT_EQ(client.receive_all(error), "y");
    EXPECT_EQ(error, 0);
}

TEST_P(RelayTest, ClientResetIsCarried) {
    Backend backend;
    start_bound(backend.port(), options());
    auto [client, server] = pair(backend);
    EXPECT_TRUE(client.send("x"));
    EXPECT_EQ(server.receive_exactly(1), "x");
    client.reset();
    EXPECT_EQ(server.end(), ECONNRESET);
    EXPECT_TRUE(all_relays_end());
    EXPECT_EQ(metrics().resets, 1u);
}

TEST_P(RelayTest, ServerResetIsCarried) {
    Backend backend;
    start_bound(backend.port(), options());
    auto [client, server] = pair(backend);
    server.reset();
    EXPECT_EQ(client.end(), ECONNRESET);
    EXPECT_TRUE(all_relays_end());
    EXPECT_EQ(metrics().resets, 1u);
}

TEST_P(RelayTest, ResetIsCarriedAfterAHalfClose) {
    Backend backend;
    start_bound(backend.port(), options());
    auto [client, server] = pair(backend);
    client.finish_sending();
    EXPECT_EQ(server.receive_exactly(1), "");
    server.reset();
    EXPECT_EQ(client.end(), ECONNRESET);
    EXPECT_TRUE(all_relays_end());
}

TEST_P(RelayTest, ResetOfTheSideThatHasHalfClosed) {
    Backend backend;
    start_bound(backend.port(), options());
    auto [client, server] = pair(backend);
    client.finish_sending();
    EXPECT_EQ(server.receive_exactly(1), "");
    client.reset();
    // Nobody reads or writes any more, so only the event itself can tell the forwarder.
    EXPECT_TRUE(all_relays_end());
    EXPECT_EQ(metrics().resets, 1u);
    EXPECT_FALSE(server.send("x"));
}

TEST_P(RelayTest, WhatWasSentBeforeAResetArrives) {
    Backend backend;
    start_bound(backend.port(), options());
    auto [client, server] = pair(backend);
    EXPECT_TRUE(client.send("a request that nobody reads"));
    EXPECT_TRUE(eventually([this] { return metrics().bytes_to_target > 0; }));
    EXPECT_TRUE(server.send("413 too large"));
    server.close();  // With unread bytes: the kernel makes a reset of it.
    EXPECT_EQ(client.receive_exactly(13), "413 too large");
    EXPECT_EQ(client.end(), ECONNRESET);
}

TEST_P(RelayTest, ResetWhileTheOtherSideIsSendingIsCarried) {
    Backend backend;
    start_bound(backend.port(), options());
    auto [client, server] = pair(backend);
    std::thread sender([&client = client] {
        std::string block = pattern(1 << 20, 3);
        while (client.send(block)) {
        }
    });
    EXPECT_EQ(server.receive_exactly(100'000).size(), 100'000u);
    server.reset();
    sender.join();
    EXPECT_TRUE(all_relays_end());
    EXPECT_EQ(metrics().resets, 1u);
}

TEST_P(RelayTest, ThreeMegabytesThenCloseReachASlowReader) {
    Backend backend;
    start_bound(backend.port(), options());
    auto [client, server] = pair(backend);
    std::string sent = pattern(3'000'000, 4);
    std::thread sender([&] {
        EXPECT_TRUE(server.send(sent));
        server.close();
    });
    std::string got;
    char buffer[40'000];
    long n = 0;
    while ((n = client.receive(buffer, sizeof buffer)) > 0) {
        got.append(buffer, static_cast<std::size_t>(n));
        std::this_thread::sleep_for(1ms);  // This is the slowness, not a wait for anything.
    }
    sender.join();
    EXPECT_EQ(n, 0);
    EXPECT_TRUE(got == sent);
}

TEST_P(RelayTest, SingleBytes) {
    Backend backend;
    start_bound(backend.port(), options());
    auto [client, server] = pair(backend);
    std::string sent = pattern(5000, 5);
    std::thread sender([&, &from = client] {
        int on = 1;
        ::setsockopt(from.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        for (char c : sent) EXPECT_TRUE(from.send({&c, 1}));
        from.finish_sending();
    });
    int error = -1;
    EXPECT_TRUE(server.receive_all(error) == sent);
    sender.join();
    EXPECT_EQ(error, 0);
}

TEST_P(RelayTest, UrgentDataDoesNotStopTheStream) {
    Backend backend;
    start_bound(backend.port(), options());
    auto [client, server] = pair(backend);
    EXPECT_TRUE(client.send("before "));
    EXPECT_EQ(::send(client.fd(), "!", 1, MSG_OOB), 1);
    EXPECT_TRUE(client.send(" after"));
    client.finish_sending();
    int error = -1;
    EXPECT_EQ(server.receive_all(error), "before ! after");
    EXPECT_EQ(error, 0);
}

TEST_P(RelayTest, SlowReaderStopsTheSender) {
    Backend backend;
    start_bound(backend.port(), options());
    auto [client, server] = pair(backend);
    timeval limit{0, 300'000};
    ::setsockopt(client.fd(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    std::string block = pattern(1 << 20, 6);
    std::size_t taken = 0;
    for (; taken < 256; ++taken) {
        if (!client.send(block)) break;
    }
    // Socket buffers of the kernel (at most about 4 x 6 MB), and one pipe.
    EXPECT_LT(taken, 64u);
    std::string got = server.receive_exactly(taken << 20);
    EXPECT_EQ(got.size(), taken << 20) << "and it all arrives once the reader reads";
}

TEST_F(ForwarderTest, SocketsOfBothSidesAreSetUp) {
    Backend backend;
    start_bound(backend.port());
    auto [client, server] = pair(backend);
    std::set<int> mine{client.fd(), server.fd()};
    std::uint16_t client_port = bound_port(client.fd());
    int checked = 0;
    for (int fd : open_descriptors()) {
        std::string peer = peer_text(fd);
        bool relays = peer.ends_with(':' + std::to_string(client_port)) ||
                      peer.ends_with(':' + std::to_string(backend.port()));
        if (!relays || mine.contains(fd)) continue;
        for (auto [level, name, expected] :
             std::vector<std::array<int, 3>>{{IPPROTO_TCP, TCP_NODELAY, 1},
                                             {SOL_SOCKET, SO_KEEPALIVE, 1},
                                             {IPPROTO_TCP, TCP_KEEPIDLE, 15}}) {
            int value = -1;
            socklen_t size = sizeof value;
            ::getsockopt(fd, level, name, &value, &size);
            EXPECT_EQ(value, expected) << peer;
        }
        ++checked;
    }
    EXPECT_EQ(checked, 2);
}

TEST_F(ForwarderTest, UnboundClosesAfterAMoment) {
    start();
    auto begin = Clock::now();
    Socket client = connect();
    EXPECT_EQ(client.end(), 0);
    auto took = Clock::now() - begin;
    EXPECT_GE(took, 95ms);
    EXPECT_LT(took, 5s);
    EXPECT_TRUE(eventually([this] { return metrics().unbound == 1; }));
}

TEST_F(ForwarderTest, UnboundClosesEarlierWhenTheClientActs) {
    ForwarderOptions options;
    options.unbound_close = 1h;
    start(options);
    Socket sends = connect();
    EXPECT_TRUE(sends.send("x"));
    EXPECT_EQ(sends.end(), 0);
    Socket sends_more = connect();
    EXPECT_TRUE(sends_more.send("GET / HTTP/1.0\r\n\r\n"));
    EXPECT_EQ(sends_more.end(), ECONNRESET);
    Socket half_closes = connect();
    half_closes.finish_sending();
    EXPECT_EQ(half_closes.end(), 0);
    Socket silent = connect();
    EXPECT_TRUE(eventually([this] { return metrics().accepted == 4; }));
    EXPECT_EQ(metrics().unbound, 3u);
    EXPECT_EQ(metrics().active, 1u) << "and not those that do nothing";
}

TEST_F(ForwarderTest, ManyUnboundOnesEndInTurn) {
    start();
    Socket first = connect();
    EXPECT_TRUE(eventually([this] { return metrics().accepted == 1; }));
    std::this_thread::sleep_for(20ms);  // So that the others are due later.
    std::vector<Socket> clients;
    for (int i = 0; i < 100; ++i) clients.push_back(connect());
    EXPECT_EQ(first.end(), 0);
    for (Socket& client : clients) EXPECT_EQ(client.end(), 0);
    EXPECT_TRUE(all_relays_end());
    EXPECT_EQ(metrics().unbound, 101u);
}

TEST_F(ForwarderTest, NobodyListensClosesAtOnce) {
    Backend gone;
    std::uint16_t port = gone.port();
    gone.close();
    start_bound(port);
    Socket client = connect();
    EXPECT_EQ(client.end(), 0);
    EXPECT_TRUE(eventually([this] { return metrics().refused == 1; }));
    Backend back(AF_INET, port);
    ASSERT_TRUE(back);
    auto [again, server] = pair(back);
    EXPECT_TRUE(again.send("hi"));
    EXPECT_EQ(server.receive_exactly(2), "hi");
}

TEST_F(ForwarderTest, ASocketConnectedToItselfCountsAsRefused) {
    UniqueFd fd = new_socket(AF_INET);
    Loopback any(AF_INET, 0);
    ASSERT_EQ(::bind(fd.get(), any.get(), any.size), 0);
    std::uint16_t port = bound_port(fd.get());
    ASSERT_TRUE(connect_to(fd, AF_INET, port)) << "the kernel lets a socket connect to itself";
    EXPECT_EQ(finish_dial(fd.get(), Family::v4, port), ECONNREFUSED);
}

TEST_F(ForwarderTest, FindsAListenerOnIpv6Alone) {
    Backend backend(AF_INET6);
    if (!backend) GTEST_SKIP() << "no IPv6 here";
    start_bound(backend.port());
    for (int i = 0; i < 2; ++i) {  // The second time the family is known.
        auto [client, server] = pair(backend);
        EXPECT_TRUE(client.send("six"));
        EXPECT_EQ(server.receive_exactly(3), "six");
    }
    // And back again: another program takes over the port, on IPv4.
    std::uint16_t port = backend.port();
    backend.close();
    Backend four(AF_INET, port);
    ASSERT_TRUE(four);
    auto [client, server] = pair(four);
    EXPECT_TRUE(client.send("four"));
    EXPECT_EQ(server.receive_exactly(4), "four");
}

TEST_F(ForwarderTest, WorksWithoutIpv6) {
    ForwarderOptions options;
    options.ipv6 = false;
    Backend backend;
    start_bound(backend.port(), options);
    auto [client, server] = pair(backend);
    EXPECT_TRUE(client.send("hi"));
    EXPECT_EQ(server.receive_exactly(2), "hi");
    backend.close();
    Socket refused = connect();
    EXPECT_EQ(refused.end(), 0);
    EXPECT_TRUE(eventually([this] { return metrics().refused == 1; }));
}

TEST_F(ForwarderTest, ServesClientsOnIpv6) {
    Backend backend;
    start_bound(backend.port());
    Socket client = connect(AF_INET6);
    if (!client) GTEST_SKIP() << "no IPv6 here";
    Socket server = backend.accept();
    EXPECT_TRUE(client.send("hi"));
    EXPECT_EQ(server.receive_exactly(2), "hi");
}

TEST_F(ForwarderTest, RebindEndsOldRelaysAndServesTheNewPort) {
    Backend first;
    Backend second;
    start_bound(first.port());
    auto [old_client, old_server] = pair(first);
    bind(second.port());
    EXPECT_EQ(old_client.end(), 0);
    EXPECT_EQ(old_server.end(), 0);
    auto [client, server] = pair(second);
    EXPECT_TRUE(client.send("new"));
    EXPECT_EQ(server.receive_exactly(3), "new");
    EXPECT_EQ(metrics().active, 1u);
}

TEST_F(ForwarderTest, UnbindEndsRelays) {
    Backend backend;
    start_bound(backend.port());
    auto [client, server] = pair(backend);
    EXPECT_EQ(on_loop([this] { return binding_->unbind(1); }), PortBinding::Unbind::mismatch);
    EXPECT_TRUE(client.send("still"));
    EXPECT_EQ(server.receive_exactly(5), "still");
    EXPECT_EQ(on_loop([this] { return binding_->unbind(); }), PortBinding::Unbind::done);
    EXPECT_EQ(client.end(), 0);
    EXPECT_EQ(server.end(), 0);
}

TEST_F(ForwarderTest, ACutTransferDoesNotLookComplete) {
    Backend backend;
    start_bound(backend.port());
    auto [client, server] = pair(backend);
    std::thread sender([&server = server] {
        std::string block = pattern(1 << 20, 7);
        while (server.send(block)) {
        }
    });
    EXPECT_EQ(client.receive_exactly(1000).size(), 1000u);
    // The client reads no more: bytes get stuck on the way.
    std::uint64_t before = 0;
    EXPECT_TRUE(eventually([&] {
        std::uint64_t now = metrics().bytes_to_client;
        std::this_thread::sleep_for(50ms);
        return std::exchange(before, now) == now && now > 0;
    }));
    on_loop([this] { return binding_->unbind(); });
    sender.join();
    EXPECT_EQ(client.end(), ECONNRESET);
}

TEST_F(ForwarderTest, StopRefusesNewOnesAndKeepsRelays) {
    Backend backend;
    start_bound(backend.port());
    auto [client, server] = pair(backend);
    on_loop([this] {
        forwarder_->stop();
        return 0;
    });
    EXPECT_FALSE(connect());
    EXPECT_TRUE(client.send("hi"));
    EXPECT_EQ(server.receive_exactly(2), "hi");
    // Nothing waits for an idle relay.
    auto begin = Clock::now();
    on_loop([this] {
        forwarder_->close_all();
        return 0;
    });
    EXPECT_EQ(client.end(), 0);
    EXPECT_EQ(server.end(), 0);
    EXPECT_LT(Clock::now() - begin, 1s);
}

TEST_F(ForwarderTest, ConnectionsOverTheCapWaitForTheirTurn) {
    ForwarderOptions options;
    options.max_connections = 2;
    Backend backend;
    start_bound(backend.port(), options);
    auto [a, server_a] = pair(backend);
    auto [b, server_b] = pair(backend);
    Socket c = connect();
    EXPECT_TRUE(c.send("third"));
    EXPECT_FALSE(backend.accept(0));
    EXPECT_EQ(metrics().active, 2u);
    a.close();
    server_a.close();
    Socket server_c = backend.accept();
    ASSERT_TRUE(server_c);
    EXPECT_EQ(server_c.receive_exactly(5), "third");
}

TEST_F(ForwarderTest, StopWhileTheCapIsReached) {
    ForwarderOptions options;
    options.max_connections = 1;
    Backend backend;
    start_bound(backend.port(), options);
    auto [client, server] = pair(backend);
    Socket waits = connect();
    // TearDown proves that the accepting coroutine ends.
}

}  // namespace
}  // namespace sandbox::proxy::test
