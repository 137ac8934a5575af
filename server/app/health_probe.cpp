#include "app/health_probe.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "base/unique_fd.hpp"
#include "platform/listen.hpp"

namespace sandbox {
namespace {

using Clock = std::chrono::steady_clock;

bool wait_for(int fd, short events, Clock::time_point deadline) {
    for (;;) {
        auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
        pollfd entry{fd, events, 0};
        int ready = ::poll(&entry, 1, left > 0 ? static_cast<int>(left) : 0);
        if (ready > 0) return true;
        if (ready == 0 || errno != EINTR) {
            if (ready == 0) errno = ETIMEDOUT;
            return false;
        }
    }
}

Result<UniqueFd> connect_to(const sockaddr* address, socklen_t size, Clock::time_point deadline) {
    UniqueFd fd(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return sys_error("socket", errno);
    if (::connect(fd.get(), address, size) == 0) return fd;
    if (errno != EINPROGRESS || !wait_for(fd.get(), POLLOUT, deadline)) return sys_error("connect", errno);
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return sys_error("connect", error);
    return fd;
}

Result<UniqueFd> connect_loopback(std::uint16_t port, Clock::time_point deadline) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    Result<UniqueFd> fd = connect_to(reinterpret_cast<const sockaddr*>(&v4), sizeof v4, deadline);
    if (fd) return fd;
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    v6.sin6_addr = in6addr_loopback;
    Result<UniqueFd> other = connect_to(reinterpret_cast<const sockaddr*>(&v6), sizeof v6, deadline);
    return other ? std::move(other) : std::move(fd);
}

}  // namespace

Result<> probe_health(const std::string& port, std::chrono::milliseconds limit) {
    const auto deadline = Clock::now() + limit;
    Result<std::uint16_t> number = resolve_port(port);
    if (!number) return number.error();
    Result<UniqueFd> fd = connect_loopback(*number, deadline);
    if (!fd) return fd.error();
    constexpr std::string_view kRequest =
        "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    // Fits any socket buffer, so one call takes it whole.
    if (::send(fd->get(), kRequest.data(), kRequest.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(kRequest.size())) {
        return sys_error("send", errno);
    }
    // "HTTP/1.1 200": the status line tells all.
    std::array<char, 12> head{};
    std::size_t have = 0;
    while (have < head.size()) {
        if (!wait_for(fd->get(), POLLIN, deadline)) return sys_error("receive", errno);
        ssize_t got = ::recv(fd->get(), head.data() + have, head.size() - have, 0);
        if (got < 0 && errno != EAGAIN && errno != EINTR) return sys_error("receive", errno);
        if (got == 0) return Error{Errc::unavailable, "closed without an answer", 0};
        if (got > 0) have += static_cast<std::size_t>(got);
    }
    std::string_view answer(head.data(), head.size());
    if (answer.starts_with("HTTP/1.1 ") && answer.ends_with(" 200")) return Result<>();
    return Error{Errc::unavailable, "answered \"" + std::string(answer) + "\"", 0};
}

}  // namespace sandbox
