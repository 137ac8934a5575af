#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include <atomic>
#include <fstream>
#include <functional>

#include "forwarder_fixture.hpp"

namespace sandbox::proxy::test {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kBlock = 1 << 20;

void send_blocks(Socket& socket, const std::string& block, int count) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(socket.send(block)) << "block " << i;
    socket.finish_sending();
}

// Every block must be the one that was sent, and nothing may follow.
void expect_blocks(Socket& socket, const std::string& block, int count) {
    for (int i = 0; i < count; ++i) {
        if (socket.receive_exactly(block.size()) == block) continue;
        ADD_FAILURE() << "block " << i << " is damaged";
        break;
    }
    EXPECT_EQ(socket.end(), 0);
}

void both_ways(Socket& client, Socket& server, int blocks) {
    std::string up = pattern(kBlock, 11);
    std::string down = pattern(kBlock, 12);
    std::thread up_in([&] { send_blocks(client, up, blocks); });
    std::thread down_in([&] { send_blocks(server, down, blocks); });
    std::thread up_out([&] { expect_blocks(server, up, blocks); });
    expect_blocks(client, down, blocks);
    up_in.join();
    down_in.join();
    up_out.join();
}

// Room for `wanted` descriptors, as far as the hard limit goes.
class DescriptorLimit {
  public:
    explicit DescriptorLimit(rlim_t soft) {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        rlimit limit = before_;
        limit.rlim_cur = std::min(soft, before_.rlim_max);
        ::setrlimit(RLIMIT_NOFILE, &limit);
        soft_ = limit.rlim_cur;
    }
    ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    DescriptorLimit(const DescriptorLimit&) = delete;
    DescriptorLimit& operator=(const DescriptorLimit&) = delete;
    rlim_t soft() const { return soft_; }

  private:
    rlimit before_{};
    rlim_t soft_ = 0;
};

class ForwarderLoadTest : public ForwarderTest {};

TEST_F(ForwarderLoadTest, QuarterOfAGigabyteEachWayAtOnce) {
    Backend backend;
    start_bound(backend.port());
    auto [client, server] = pair(backend);
    both_ways(client, server, 256);
    client.close();
    server.close();
    EXPECT_TRUE(all_relays_end());
    EXPECT_EQ(metrics().bytes_to_target, std::uint64_t{256} << 20);
    EXPECT_EQ(metrics().bytes_to_client, std::uint64_t{256} << 20);
}

TEST_F(ForwarderLoadTest, CopyingEachWayAtOnce) {
    ForwarderOptions options;
    options.splice = false;
    Backend backend;
    start_bound(backend.port(), options);
    auto [client, server] = pair(backend);
    both_ways(client, server, 64);
}

TEST_F(ForwarderLoadTest, SmallestPipes) {
    ForwarderOptions options;
    options.pipe_bytes = 4096;  // As a user gets them who holds too many already.
    Backend backend;
    start_bound(backend.port(), options);
    auto [client, server] = pair(backend);
    both_ways(client, server, 32);
}

TEST_F(ForwarderLoadTest, ABusyRelayLeavesTimeForOthers) {
    Backend backend;
    start_bound(backend.port());
    auto [bulk_client, bulk_server] = pair(backend);
    auto [client, server] = pair(backend);
    std::atomic<bool> stop{false};
    std::thread sender([&, &out = bulk_client] {
        std::string block = pattern(kBlock, 13);
        while (!stop && out.send(block)) {
        }
        out.close();
    });
    std::thread receiver([&in = bulk_server] { EXPECT_EQ(in.end(), 0); });
    auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < 200; ++i) {
        ASSERT_TRUE(client.send("ping"));
        ASSERT_EQ(server.receive_exactly(4), "ping");
        ASSERT_TRUE(server.send("pong"));
        ASSERT_EQ(client.receive_exactly(4), "pong");
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
    stop = true;
    sender.join();
    receiver.join();
}

TEST_F(ForwarderLoadTest, ThousandsOfRelaysAtOnce) {
    // Client, both sockets of the relay, server: four descriptors each, all in this process.
    DescriptorLimit limit(20'000);
    std::size_t relays = std::min<std::size_t>(2000, (limit.soft() - 200) / 4);
    if (relays < 200) GTEST_SKIP() << "only " << limit.soft() << " descriptors allowed";
    Backend backend;
    start_bound(backend.port());
    std::vector<std::pair<Socket, Socket>> all;
    for (std::size_t i = 0; i < relays; ++i) {
        all.push_back(pair(backend));
        ASSERT_TRUE(all.back().first && all.back().second) << i;
    }
    EXPECT_EQ(metrics().active, relays);
    for (int round = 0; round < 2; ++round) {
        for (std::size_t i = 0; i < relays; ++i) {
            EXPECT_TRUE(all[i].first.send(std::to_string(i) + '\n'));
            EXPECT_TRUE(all[i].second.send(std::to_string(i) + '\n'));
        }
        for (std::size_t i = 0; i < relays; ++i) {
            std::string expected = std::to_string(i) + '\n';
            EXPECT_EQ(all[i].second.receive_exactly(expected.size()), expected);
            EXPECT_EQ(all[i].first.receive_exactly(expected.size()), expected);
        }
    }
    // Idle relays hold their two sockets and nothing else: what more there is are the pool's few pipes.
    EXPECT_LT(open_descriptors().size(), descriptors_before_ + relays * 4 + 40);
    all.clear();
    EXPECT_TRUE(all_relays_end());
}

TEST_F(ForwarderLoadTest, ManyShortConnections) {
    Backend backend;
    start_bound(backend.port());
    std::thread server([&] {
        for (int i = 0; i < 2000; ++i) {
            Socket socket = backend.accept();
            int error = -1;
            std::string got = socket.receive_all(error);
            EXPECT_EQ(error, 0);
            EXPECT_TRUE(socket.send(got));
        }
    });
    for (int i = 0; i < 2000; ++i) {
        Socket client = connect();
        std::string text = "n" + std::to_string(i);
        EXPECT_TRUE(client.send(text));
        client.finish_sending();
        int error = -1;
        ASSERT_EQ(client.receive_all(error), text);
        ASSERT_EQ(error, 0);
    }
    server.join();
    EXPECT_TRUE(all_relays_end());
    EXPECT_EQ(metrics().accepted, 2000u);
}

// Uses up the descriptors below a low limit, so that the next one asked for is refused.
class NoDescriptorsLeft {
  public:
    explicit NoDescriptorsLeft(int limit) : limit_(static_cast<rlim_t>(limit)) {
        for (;;) {
            UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
            if (!fd) break;
            fill_.push_back(std::move(fd));
        }
    }
    void give_back(std::size_t n) {
        while (n-- > 0 && !fill_.empty()) fill_.pop_back();
    }

  private:
    DescriptorLimit limit_;
    std::vector<UniqueFd> fill_;
};

TEST_F(ForwarderLoadTest, OutOfDescriptorsPausesAndRecovers) {
    Backend backend;
    start_bound(backend.port());
    auto [old_client, old_server] = pair(backend);
    UniqueFd one = new_socket(AF_INET);
    UniqueFd two = new_socket(AF_INET);
    NoDescriptorsLeft nothing_left(200);
    ASSERT_TRUE(connect_to(one, AF_INET, port_));
    ASSERT_TRUE(connect_to(two, AF_INET, port_));
    EXPECT_TRUE(eventually([this] { return metrics().pauses == 1; }));
    // Relays that exist go on, if need be without a pipe.
    EXPECT_TRUE(old_client.send("hello"));
    EXPECT_EQ(old_server.receive_exactly(5), "hello");
    EXPECT_EQ(metrics().accepted, 1u);
    nothing_left.give_back(20);
    Socket client_one(std::move(one));
    Socket client_two(std::move(two));
    for (int i = 0; i < 2; ++i) {
        Socket server = backend.accept();
        ASSERT_TRUE(server);
        EXPECT_TRUE(server.send("recovered"));
    }
    EXPECT_EQ(client_one.receive_exactly(9), "recovered");
    EXPECT_EQ(client_two.receive_exactly(9), "recovered");
}

TEST_F(ForwarderLoadTest, OutOfDescriptorsForTheDialWaitsAndRecovers) {
    Backend backend;
    start_bound(backend.port());
    UniqueFd one = new_socket(AF_INET);
    UniqueFd two = new_socket(AF_INET);
    NoDescriptorsLeft nothing_left(200);
    nothing_left.give_back(1);  // Enough to accept, not to dial.
    ASSERT_TRUE(connect_to(one, AF_INET, port_));
    Socket client_one(std::move(one));
    EXPECT_TRUE(client_one.send("early"));
    EXPECT_TRUE(eventually([this] { return metrics().pauses == 1; }));
    // One that is starved holds a descriptor; a second one would take the next that becomes free.
    ASSERT_TRUE(connect_to(two, AF_INET, port_));
    Socket client_two(std::move(two));
    EXPECT_EQ(metrics().accepted, 1u);
    nothing_left.give_back(20);
    for (Socket* client : {&client_one, &client_two}) {
        Socket server = backend.accept();
        ASSERT_TRUE(server);
        if (client == &client_one) {
            EXPECT_EQ(server.receive_exactly(5), "early");
        }
        EXPECT_TRUE(server.send("recovered"));
        EXPECT_EQ(client->receive_exactly(9), "recovered");
    }
    EXPECT_EQ(metrics().dial_errors, 0u);
    EXPECT_EQ(metrics().refused, 0u);
}

// Runs `body` on a thread in a network of its own, which has loopback and nothing else, and tells what is
// missing for that, if anything; `body` may find something, too.
std::string in_own_network(const std::function<void(std::string& missing)>& body) {
    std::string missing;
    std::thread thread([&] {
        if (::unshare(CLONE_NEWNET) != 0) {
            missing = "a network of its own needs root";
            return;
        }
        UniqueFd any = new_socket(AF_INET);
        ifreq loopback{};
        std::strcpy(loopback.ifr_name, "lo");
        loopback.ifr_flags = IFF_UP;
        if (::ioctl(any.get(), SIOCSIFFLAGS, &loopback) != 0) {
            missing = "loopback cannot be switched on";
            return;
        }
        body(missing);
    });
    thread.join();
    return missing;
}

constexpr const char* kReadOnly = "the settings of the network cannot be written";

// Of the network of the calling thread. False: it cannot be written.
bool write_setting(const std::string& name, std::string_view value) {
    std::ofstream file("/proc/sys/net/" + name);
    file << value << std::flush;
    return file.good();
}

// Leaves two ports to connect from, none that a listener may have got before, and takes both of them for
// connections to `backend`. Empty: it cannot be had.
std::vector<Socket> take_all_ports(Backend& backend) {
    std::vector<Socket> taken;
    if (!write_setting("ipv4/ip_local_port_range", "61000 61001")) return taken;
    for (int i = 0; i < 2; ++i) {
        UniqueFd other = new_socket(AF_INET);
        EXPECT_TRUE(connect_to(other, AF_INET, backend.port()));
        taken.emplace_back(std::move(other));
        EXPECT_TRUE(backend.accept());
    }
    return taken;
}

TEST_F(ForwarderLoadTest, OutOfPortsForTheDialWaitsAndRecovers) {
    const std::string missing = in_own_network([&](std::string& lacking) {
        Backend backend;
        start_bound(backend.port());
        std::vector<Socket> others = take_all_ports(backend);
        if (others.empty()) {
            lacking = kReadOnly;
            return;
        }
        Socket client = connect();
        EXPECT_TRUE(client.send("early"));
        EXPECT_TRUE(eventually([this] { return metrics().pauses == 1; }));
        others.front().reset();
        Socket server = backend.accept();
        ASSERT_TRUE(server);
        EXPECT_EQ(server.receive_exactly(5), "early");
        EXPECT_TRUE(server.send("recovered"));
        EXPECT_EQ(client.receive_exactly(9), "recovered");
        EXPECT_EQ(metrics().dial_errors, 0u);
        EXPECT_EQ(metrics().refused, 0u);
    });
    if (!missing.empty()) GTEST_SKIP() << missing;
}

TEST_F(ForwarderLoadTest, OutOfPortsInOneFamilyItDialsTheOther) {
    const std::string missing = in_own_network([&](std::string& lacking) {
        Backend backend;
        Backend second(AF_INET6, backend.port());
        ASSERT_TRUE(second);
        start_bound(backend.port());
        const std::vector<Socket> others = take_all_ports(backend);
        if (others.empty()) {
            lacking = kReadOnly;
            return;
        }
        Socket client = connect();
        Socket server = second.accept();
        ASSERT_TRUE(server);
        EXPECT_TRUE(server.send("by the other"));
        EXPECT_EQ(client.receive_exactly(12), "by the other");
        EXPECT_EQ(metrics().pauses, 0u);
    });
    if (!missing.empty()) GTEST_SKIP() << missing;
}

// A family that worked and is switched off has no ports to wait for.
TEST_F(ForwarderLoadTest, AFamilyThatGoesAwayIsNotWaitedFor) {
    const std::string missing = in_own_network([&](std::string& lacking) {
        Backend backend(AF_INET6);
        ASSERT_TRUE(backend);
        start_bound(backend.port());
        {
            auto [client, server] = pair(backend);
            EXPECT_TRUE(server.send("x"));
            EXPECT_EQ(client.receive_exactly(1), "x");
        }
        if (!write_setting("ipv6/conf/all/disable_ipv6", "1")) {
            lacking = kReadOnly;
            return;
        }
        Backend again(AF_INET, backend.port());
        ASSERT_TRUE(again);
        Socket client = connect();
        EXPECT_TRUE(again.accept());
        EXPECT_EQ(metrics().pauses, 0u);
    });
    if (!missing.empty()) GTEST_SKIP() << missing;
}

TEST_F(ForwarderLoadTest, OneThatLeavesWhileItWaitsForADescriptorMakesRoom) {
    Backend backend;
    start_bound(backend.port());
    UniqueFd fd = new_socket(AF_INET);
    NoDescriptorsLeft nothing_left(200);
    nothing_left.give_back(1);
    ASSERT_TRUE(connect_to(fd, AF_INET, port_));
    Socket client(std::move(fd));
    EXPECT_TRUE(eventually([this] { return metrics().pauses == 1; }));
    EXPECT_EQ(metrics().active, 1u);
    client.reset();
    EXPECT_TRUE(eventually([this] { return metrics().active == 0; }));
    EXPECT_EQ(metrics().dial_errors, 0u);
}

TEST_F(ForwarderLoadTest, DisconnectsAtAnyMomentLeaveNothingBehind) {
    Backend backend;
    start_bound(backend.port());
    std::string block = pattern(100'000, 14);
    for (unsigned i = 0; i < 300; ++i) {
        Socket client = connect();
        if (i % 2 == 1) {
            EXPECT_TRUE(client.send({block.data(), (i * 331) % block.size()}));
        }
        if (i % 3 == 0) client.finish_sending();
        if (i % 7 == 0) {
            client.reset();
            continue;
        }
        Socket server = backend.accept();
        ASSERT_TRUE(server);
        (void)server.send({block.data(), (i * 577) % 60'000});
        if (i % 5 == 0) server.reset();
        if (i % 11 == 0) client.reset();
    }
    backend.close();  // Resets those that were left in its backlog.
    EXPECT_TRUE(all_relays_end());
}

}  // namespace
}  // namespace sandbox::proxy::test
