#include "app/health_probe.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "platform/listen.hpp"

namespace sandbox {
namespace {

// Serves one client with `answer`, then closes. Silent without one: the client has to give up by itself.
class OneAnswer {
  public:
    explicit OneAnswer(std::string answer) : answer_(std::move(answer)) {
        ListenOptions options;
        options.loopback_only = true;
        listener_ = std::move(*listen_tcp("0", options));
        port_ = std::to_string(bound_port(listener_.get()));
        if (!answer_.empty()) thread_ = std::thread([this] { serve(); });
    }
    ~OneAnswer() {
        if (thread_.joinable()) thread_.join();
    }
    OneAnswer(const OneAnswer&) = delete;
    OneAnswer& operator=(const OneAnswer&) = delete;
    const std::string& port() const { return port_; }

  private:
    void serve() {
        pollfd waiting{listener_.get(), POLLIN, 0};
        ASSERT_EQ(::poll(&waiting, 1, -1), 1);
        UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        char request[256];
        EXPECT_GT(::recv(client.get(), request, sizeof request, 0), 0);
        // Byte by byte, until the probe knows enough and closes.
        for (char byte : answer_) {
            if (::send(client.get(), &byte, 1, MSG_NOSIGNAL) < 0) break;
        }
    }

    std::string answer_;
    UniqueFd listener_;
    std::string port_;
    std::thread thread_;
};

constexpr std::chrono::milliseconds kLong{10'000};

TEST(HealthProbe, Well) {
    OneAnswer daemon("HTTP/1.1 200 OK");
    EXPECT_TRUE(probe_health(daemon.port(), kLong));
}

TEST(HealthProbe, Draining) {
    OneAnswer daemon("HTTP/1.1 503 Service Unavailable");
    Result<> result = probe_health(daemon.port(), kLong);
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().message.find("503"), std::string::npos);
}

TEST(HealthProbe, ClosedEarly) {
    OneAnswer daemon("HTTP/1.1 2");
    EXPECT_FALSE(probe_health(daemon.port(), kLong));
}

TEST(HealthProbe, Silent) {
    OneAnswer daemon("");
    Result<> result = probe_health(daemon.port(), std::chrono::milliseconds(20));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().sys_errno, ETIMEDOUT);
}

TEST(HealthProbe, NobodyListens) {
    std::string port;
    {
        ListenOptions options;
        options.loopback_only = true;
        Result<UniqueFd> listener = listen_tcp("0", options);
        port = std::to_string(bound_port(listener->get()));
    }
    Result<> result = probe_health(port, kLong);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().sys_errno, ECONNREFUSED);
    EXPECT_EQ(probe_health("no such port", kLong).error().code, Errc::invalid_argument);
}

}  // namespace
}  // namespace sandbox
