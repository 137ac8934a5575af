#pragma once
// A Forwarder on a loop thread of its own, and blocking sockets to talk through it.

#include <dirent.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"
#include "platform/listen.hpp"
#include "proxy/forwarder.hpp"

namespace sandbox::proxy::test {

inline constexpr int kPatience = 10;  // seconds until a test gives up waiting

// A TCP socket whose calls give up after kPatience seconds.
class Socket {
  public:
    Socket() = default;
    explicit Socket(UniqueFd fd) : fd_(std::move(fd)) {
        timeval limit{kPatience, 0};
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    }

    int fd() const { return fd_.get(); }
    explicit operator bool() const { return static_cast<bool>(fd_); }

    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            ssize_t n = ::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (n < 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(n));
        }
        return true;
    }

    // recv(2): bytes, 0 at the end, -errno.
    long receive(char* out, std::size_t size) {
        ssize_t n = ::recv(fd(), out, size, 0);
        return n >= 0 ? n : -errno;
    }

    std::string receive_exactly(std::size_t size) {
        std::string out(size, '\0');
        std::size_t have = 0;
        while (have < size) {
            long n = receive(out.data() + have, size - have);
            if (n <= 0) break;
            have += static_cast<std::size_t>(n);
        }
        out.resize(have);
        return out;
    }

    // Reads until the end. `error`: 0 for a FIN, ECONNRESET for a reset.
    std::string receive_all(int& error) {
        std::string out;
        char buffer[65536];
        for (;;) {
            long n = receive(buffer, sizeof buffer);
            if (n <= 0) {
                error = static_cast<int>(-n);
                return out;
            }
            out.append(buffer, static_cast<std::size_t>(n));
        }
    }

    // How the other side ended: 0 or ECONNRESET; what was read before is dropped.
    int end() {
        int error = 0;
        (void)receive_all(error);
        return error;
    }

    void finish_sending() { ::shutdown(fd(), SHUT_WR); }
    void close() { fd_.reset(); }
    void reset() {
        linger at_once{1, 0};
        ::setsockopt(fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        fd_.reset();
    }

  private:
    UniqueFd fd_;
};

inline UniqueFd new_socket(int family) { return UniqueFd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

// 127.0.0.1 or ::1, as bytes for bind and connect.
struct Loopback {
    sockaddr_storage storage{};
    socklen_t size = 0;

    Loopback(int family, std::uint16_t port) {
        if (family == AF_INET) {
            sockaddr_in in{};
            in.sin_family = AF_INET;
            in.sin_port = htons(port);
            in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            std::memcpy(&storage, &in, size = sizeof in);
        } else {
            sockaddr_in6 in{};
            in.sin6_family = AF_INET6;
            in.sin6_port = htons(port);
            in.sin6_addr = in6addr_loopback;
            std::memcpy(&storage, &in, size = sizeof in);
        }
    }
    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

inline bool connect_to(const UniqueFd& fd, int family, std::uint16_t port) {
    Loopback address(family, port);
    return ::connect(fd.get(), address.get(), address.size) == 0;
}

// The user's program: listens on one loopback address.
class Backend {
  public:
    explicit Backend(int family = AF_INET, std::uint16_t port = 0) : fd_(new_socket(family)) {
        int on = 1;
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        Loopback address(family, port);
        if (::bind(fd_.get(), address.get(), address.size) != 0 || ::listen(fd_.get(), 4096) != 0)
            fd_.reset();
    }

    explicit operator bool() const { return static_cast<bool>(fd_); }
    std::uint16_t port() const { return bound_port(fd_.get()); }
    int fd() const { return fd_.get(); }

    // Empty when nobody comes.
    Socket accept(int seconds = kPatience) {
        pollfd wait{fd_.get(), POLLIN, 0};
        if (::poll(&wait, 1, seconds * 1000) != 1) return {};
        return Socket(UniqueFd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
    }
    void close() { fd_.reset(); }

  private:
    UniqueFd fd_;
};

inline std::vector<int> open_descriptors() {
    std::vector<int> fds;
    DIR* directory = ::opendir("/proc/self/fd");
    while (const dirent* entry = ::readdir(directory)) {
        int fd = std::atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd != ::dirfd(directory)) fds.push_back(fd);
    }
    ::closedir(directory);
    return fds;
}

// Deterministic bytes that compress and repeat badly: a lost or swapped block shows.
inline std::string pattern(std::size_t size, std::uint64_t seed) {
    std::string out(size, '\0');
    std::uint64_t x = seed * 2 + 1;
    for (char& c : out) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        c = static_cast<char>(x >> 56);
    }
    return out;
}

class ForwarderTest : public testing::Test {
  protected:
    ForwarderTest() {
        std::signal(SIGPIPE, SIG_IGN);
        descriptors_before_ = open_descriptors().size();
    }

    void start(const ForwarderOptions& options = {}, std::vector<std::uint16_t> own_ports = {}) {
        loop_ = std::make_unique<Loop>(1);
        binding_ = std::make_unique<PortBinding>(std::move(own_ports));
        auto listener = listen_tcp("0");
        ASSERT_TRUE(listener) << listener.error().message;
        forwarder_ = std::make_unique<Forwarder>(*loop_, *binding_, std::move(*listener), options);
        port_ = forwarder_->port();
        thread_ = std::thread([this] {
            auto work = boost::asio::make_work_guard(*loop_);
            stop_working_ = [&work] { work.reset(); };
            loop_->run();
        });
    }

    void start_bound(std::uint16_t port, const ForwarderOptions& options = {}) {
        start(options);
        bind(port);
    }

    // Runs `action` on the loop thread and hands back what it returned.
    template <class F>
    auto on_loop(F action) {
        using Action = std::packaged_task<std::invoke_result_t<F>()>;
        auto task = std::make_shared<Action>(std::move(action));
        auto result = task->get_future();
        boost::asio::post(*loop_, [task] { (*task)(); });
        return result.get();
    }

    void bind(std::uint16_t port) {
        ASSERT_TRUE(on_loop([&] { return binding_->bind(port).has_value(); }));
    }
    ForwarderMetrics metrics() {
        return on_loop([this] { return forwarder_->metrics(); });
    }

    Socket connect(int family = AF_INET) {
        UniqueFd fd = new_socket(family);
        if (!connect_to(fd, family, port_)) fd.reset();
        return Socket(std::move(fd));
    }

    // A client and the server it was relayed to.
    std::pair<Socket, Socket> pair(Backend& backend) {
        Socket client = connect();
        Socket server = backend.accept();
        EXPECT_TRUE(client && server);
        return {std::move(client), std::move(server)};
    }

    // Waits for what the loop thread does in its own time.
    bool eventually(const std::function<bool()>& condition) {
        auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(kPatience);
        while (!condition()) {
            if (std::chrono::steady_clock::now() > deadline) return false;
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        return true;
    }
    bool all_relays_end() {
        return eventually([this] { return metrics().active == 0; });
    }

    void TearDown() override {
        if (!thread_.joinable()) return;
        on_loop([this] {
            forwarder_.reset();
            stop_working_();
            return 0;
        });
        thread_.join();  // Returns only because the loop ran out of work.
        binding_.reset();
        loop_.reset();
        EXPECT_EQ(open_descriptors().size(), descriptors_before_) << "descriptors leaked";
    }

    std::unique_ptr<Loop> loop_;
    std::unique_ptr<PortBinding> binding_;
    std::unique_ptr<Forwarder> forwarder_;
    std::function<void()> stop_working_;
    std::uint16_t port_ = 0;
    std::thread thread_;
    std::size_t descriptors_before_ = 0;
};

}  // namespace sandbox::proxy::test
