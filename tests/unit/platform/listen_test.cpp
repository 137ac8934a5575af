#include "platform/listen.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "platform/acceptor.hpp"

namespace sandbox {
namespace {

using namespace std::chrono_literals;

UniqueFd connect_v4(std::uint16_t port) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fd.reset();
    return fd;
}

UniqueFd connect_v6(std::uint16_t port) {
    UniqueFd fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    address.sin6_addr = in6addr_loopback;
    if (!fd || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fd.reset();
    return fd;
}

int int_option(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    ::getsockopt(fd, level, name, &value, &size);
    return value;
}

// Keeps the soft limit of descriptors at "not one more" while it lives.
class NoDescriptorsLeft {
  public:
    NoDescriptorsLeft() {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        for (;;) {
            UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
            if (!fd || fd.get() >= kLimit) break;
            fill_.push_back(std::move(fd));
        }
        rlimit limit = before_;
        limit.rlim_cur = kLimit;
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }
    ~NoDescriptorsLeft() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    void give_back(std::size_t n) {
        while (n-- > 0 && !fill_.empty()) fill_.pop_back();
    }

  private:
    static constexpr int kLimit = 200;
    rlimit before_{};
    std::vector<UniqueFd> fill_;
};

class AcceptorTest : public testing::Test {
  protected:
    void start(std::size_t spare = 0) {
        auto listener = listen_tcp("0");
        ASSERT_TRUE(listener) << listener.error().message;
        acceptor_ = std::make_unique<Acceptor>(loop_, std::move(*listener), "test", spare);
        spawn_task(loop_, "accept", accept_all(), [this] { ended_ = true; });
    }

    Task<> accept_all() {
        for (;;) {
            UniqueFd fd = co_await acceptor_->accept();
            if (!fd) co_return;
            accepted_.push_back(std::move(fd));
        }
    }

    bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit = 5000ms) {
        auto deadline = std::chrono::steady_clock::now() + limit;
        while (!done() && std::chrono::steady_clock::now() < deadline) {
            loop_.restart();
            loop_.run_for(5ms);
        }
        return done();
    }

    void TearDown() override {
        if (acceptor_) acceptor_->stop();
        EXPECT_TRUE(run_until([this] { return ended_; }));
        loop_.restart();
        EXPECT_EQ(loop_.poll(), 0u) << "nothing may be left in the loop";
    }

    Loop loop_{1};
    std::unique_ptr<Acceptor> acceptor_;
    std::vector<UniqueFd> accepted_;
    bool ended_ = false;
};

TEST(ResolvePort, NumbersAndNames) {
    EXPECT_EQ(*resolve_port("0"), 0);
    EXPECT_EQ(*resolve_port("3030"), 3030);
    EXPECT_EQ(*resolve_port("65535"), 65535);
    EXPECT_EQ(*resolve_port("http"), 80);
    EXPECT_EQ(*resolve_port("https"), 443);
    for (const char* bad :
         {"", "65536", "-1", " 80", "80 ", "8o", "+80", "0x50", "no-such-service", "99999999999"}) {
        auto port = resolve_port(bad);
        ASSERT_FALSE(port) << bad;
        EXPECT_EQ(port.error().code, Errc::invalid_argument);
        EXPECT_NE(port.error().message.find('"' + std::string(bad) + '"'), std::string::npos);
    }
}

TEST(ListenTcp, PortInUseIsAnError) {
    auto first = listen_tcp("0");
    ASSERT_TRUE(first);
    auto second = listen_tcp(std::to_string(bound_port(first->get())));
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().sys_errno, EADDRINUSE);
    EXPECT_NE(second.error().message.find("address already in use"), std::string::npos);
}

TEST(ListenTcp, PortIsFreeAgainAfterServedConnections) {
    auto first = listen_tcp("0");
    ASSERT_TRUE(first);
    std::uint16_t port = bound_port(first->get());
    UniqueFd client = connect_v4(port);
    UniqueFd server(::accept4(first->get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(server);
    server.reset();  // The active closer: its end goes to TIME_WAIT.
    client.reset();
    first->reset();
    EXPECT_TRUE(listen_tcp(std::to_string(port)));
}

TEST(ListenTcp, LoopbackOnlyHasNoOtherAddress) {
    ListenOptions options;
    options.loopback_only = true;
    auto fd = listen_tcp("0", options);
    ASSERT_TRUE(fd);
    sockaddr_in address{};
    socklen_t size = sizeof address;
    ASSERT_EQ(::getsockname(fd->get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    EXPECT_EQ(address.sin_family, AF_INET);
    EXPECT_EQ(ntohl(address.sin_addr.s_addr), INADDR_LOOPBACK);
    EXPECT_TRUE(connect_v4(bound_port(fd->get())));
}

TEST(ListenTcp, ServesIpv4WithoutIpv6) {
    ListenOptions options;
    options.ipv6 = false;
    auto fd = listen_tcp("0", options);
    ASSERT_TRUE(fd);
    EXPECT_TRUE(connect_v4(bound_port(fd->get())));
    EXPECT_FALSE(connect_v6(bound_port(fd->get())));
}

TEST(ListenTcp, DescriptorIsCloseOnExecAndNonBlocking) {
    auto fd = listen_tcp("0");
    ASSERT_TRUE(fd);
    EXPECT_TRUE(::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC);
    EXPECT_TRUE(::fcntl(fd->get(), F_GETFL) & O_NONBLOCK);
}

TEST_F(AcceptorTest, AcceptsBothFamilies) {
    start();
    UniqueFd four = connect_v4(acceptor_->port());
    ASSERT_TRUE(four);
    UniqueFd six = connect_v6(acceptor_->port());
    std::size_t expected = six ? 2 : 1;  // The machine may have no IPv6.
    ASSERT_TRUE(run_until([&] { return accepted_.size() == expected; }));
    EXPECT_EQ(peer_text(accepted_[0].get()), "127.0.0.1:" + std::to_string(bound_port(four.get())));
    if (six) {
        EXPECT_EQ(peer_text(accepted_[1].get()), "[::1]:" + std::to_string(bound_port(six.get())));
    }
    EXPECT_EQ(acceptor_->counters().accepted, expected);
}

TEST_F(AcceptorTest, AcceptedSocketsAreReadyForUse) {
    start();
    UniqueFd client = connect_v4(acceptor_->port());
    ASSERT_TRUE(run_until([&] { return accepted_.size() == 1; }));
    int fd = accepted_[0].get();
    EXPECT_TRUE(::fcntl(fd, F_GETFD) & FD_CLOEXEC);
    EXPECT_TRUE(::fcntl(fd, F_GETFL) & O_NONBLOCK);
    EXPECT_EQ(int_option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    EXPECT_EQ(int_option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    EXPECT_EQ(int_option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 15);
    EXPECT_EQ(int_option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 15);
}

TEST_F(AcceptorTest, SurvivesClientsThatLeaveFirst) {
    start();
    for (int i = 0; i < 20; ++i) {
        UniqueFd client = connect_v4(acceptor_->port());
        linger reset{1, 0};
        ::setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    UniqueFd stays = connect_v4(acceptor_->port());
    std::string mine = "127.0.0.1:" + std::to_string(bound_port(stays.get()));
    EXPECT_TRUE(run_until([&] { return !accepted_.empty() && peer_text(accepted_.back().get()) == mine; }));
}

TEST_F(AcceptorTest, StopEndsAPendingAcceptAndRefusesClients) {
    start();
    std::uint16_t port = acceptor_->port();
    loop_.poll();
    EXPECT_FALSE(ended_);
    acceptor_->stop();
    EXPECT_TRUE(run_until([this] { return ended_; }));
    EXPECT_FALSE(connect_v4(port));
}

TEST_F(AcceptorTest, DestructionEndsAPendingAccept) {
    start();
    loop_.poll();
    acceptor_.reset();
    EXPECT_TRUE(run_until([this] { return ended_; }));
}

TEST_F(AcceptorTest, OutOfDescriptorsPausesAndRecovers) {
    start();
    loop_.poll();
    UniqueFd one(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    NoDescriptorsLeft nothing_left;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(acceptor_->port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::connect(one.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    loop_.restart();
    loop_.run_for(200ms);
    EXPECT_TRUE(accepted_.empty());
    // 5, 10, 20, 40, 80 ms, and not thousands.
    EXPECT_GE(acceptor_->counters().pauses, 2u);
    EXPECT_LE(acceptor_->counters().pauses, 8u);
    nothing_left.give_back(10);
    EXPECT_TRUE(run_until([this] { return accepted_.size() == 1; }));
    EXPECT_EQ(acceptor_->counters().episodes, 1u);
}

TEST_F(AcceptorTest, SpareDescriptorsServeAFewMore) {
    start(2);
    loop_.poll();
    std::vector<UniqueFd> clients;
    for (int i = 0; i < 3; ++i) clients.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    NoDescriptorsLeft nothing_left;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(acceptor_->port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (const UniqueFd& client : clients) {
        ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    }
    EXPECT_TRUE(run_until([this] { return acceptor_->counters().pauses > 0; }));
    EXPECT_EQ(accepted_.size(), 2u);
    accepted_.pop_back();  // Whoever is served and leaves makes room for the next.
    EXPECT_TRUE(run_until([this] { return acceptor_->counters().accepted == 3; }));
}

TEST_F(AcceptorTest, AStreamOfConnectionsLeavesTimeForOthers) {
    start();
    std::vector<UniqueFd> clients;
    for (int i = 0; i < 60; ++i) clients.push_back(connect_v4(acceptor_->port()));
    std::size_t at_first_turn = 0;
    // Runs after what is queued now: the accepting coroutine must not have taken all 60 by then.
    std::function<void()> look = [&] {
        if (accepted_.empty()) {
            boost::asio::post(loop_, look);
        } else if (at_first_turn == 0) {
            at_first_turn = accepted_.size();
        }
    };
    boost::asio::post(loop_, look);
    EXPECT_TRUE(run_until([&] { return accepted_.size() == 60; }));
    EXPECT_GT(at_first_turn, 0u);
    EXPECT_LT(at_first_turn, 60u);
}

}  // namespace
}  // namespace sandbox
