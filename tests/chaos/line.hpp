#pragma once
// One TCP connection whose ends can be as unkind as a network is.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "base/unique_fd.hpp"

namespace sandbox::chaos {

using Clock = std::chrono::steady_clock;

// How long the other side may keep silent; whoever waits so long has been forgotten.
constexpr std::chrono::seconds kPatience{30};

class Line {
  public:
    Line() = default;
    explicit Line(UniqueFd fd) : fd_(std::move(fd)) { no_delay(); }
    // To 127.0.0.1. `window` bounds what the kernel takes in for us; 0: as it likes.
    static Line connect(int port, int window = 0) {
        UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (window > 0) ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const void* raw = &address;
        if (::connect(fd.get(), static_cast<const sockaddr*>(raw), sizeof address) != 0) return {};
        return Line(std::move(fd));
    }
    explicit operator bool() const { return static_cast<bool>(fd_); }
    int fd() const { return fd_.get(); }

    // False when the other side takes no more.
    bool send(std::string_view bytes) const {
        while (!bytes.empty()) {
            const ssize_t count = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(count));
        }
        return true;
    }
    bool trickle(std::string_view bytes) const {
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            if (!send(bytes.substr(i, 1))) return false;
        }
        return true;
    }

    enum class End { none, orderly, reset, silence };
    // Appends what comes first, up to `most` bytes; how the connection ended, if it did.
    End receive(std::string& out, std::size_t most = 65536) const {
        pollfd wanted{fd_.get(), POLLIN, 0};
        const int patience = static_cast<int>(std::chrono::milliseconds(kPatience).count());
        if (::poll(&wanted, 1, patience) == 0) return End::silence;
        const std::size_t old = out.size();
        most = std::min<std::size_t>(most, 65536);
        out.resize(old + most);
        ssize_t count = 0;
        do count = ::recv(fd_.get(), out.data() + old, most, 0);
        while (count < 0 && errno == EINTR);
        out.resize(old + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
        return count > 0 ? End::none : count == 0 ? End::orderly : End::reset;
    }
    // Everything up to the end.
    End receive_all(std::string& out) const {
        for (;;) {
            if (const End end = receive(out); end != End::none) return end;
        }
    }

    void half_close() const { ::shutdown(fd_.get(), SHUT_WR); }
    void close() { fd_.reset(); }
    void reset() {
        const linger at_once{1, 0};
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        fd_.reset();
    }

  private:
    void no_delay() const {
        const int on = 1;
        ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    UniqueFd fd_;
};

// Listens on a free port of 127.0.0.1. Not by the daemon's own code, which brings Asio in another shape than
// the client library has it.
class Listener {
  public:
    Listener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const int window = 64 * 1024;  // of what is accepted: whoever does not read is soon full
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
        address_.sin_family = AF_INET;
        address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        void* raw = &address_;
        socklen_t size = sizeof address_;
        if (::bind(fd_.get(), static_cast<sockaddr*>(raw), size) != 0 || ::listen(fd_.get(), 128) != 0 ||
            ::getsockname(fd_.get(), static_cast<sockaddr*>(raw), &size) != 0) {
            fd_.reset();
        }
    }
    int port() const { return ntohs(address_.sin_port); }
    int fd() const { return fd_.get(); }
    // The next connection; none when there is none for too long, or after stop().
    Line accept() const {
        pollfd wanted{fd_.get(), POLLIN, 0};
        if (::poll(&wanted, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) != 1)
            return {};
        UniqueFd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        return fd ? Line(std::move(fd)) : Line();
    }
    // Wakes whoever waits.
    void stop() const { ::shutdown(fd_.get(), SHUT_RDWR); }

  private:
    UniqueFd fd_;
    sockaddr_in address_{};
};

}  // namespace sandbox::chaos
