#include "platform/listen.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>

#include "base/number.hpp"

namespace sandbox {
namespace {

void set_option(int fd, int level, int name, int value) {
    (void)::setsockopt(fd, level, name, &value, sizeof value);
}

std::optional<std::uint16_t> known_service(std::string_view name) {
    static constexpr std::pair<std::string_view, std::uint16_t> kServices[] = {
        {"domain", 53}, {"ftp", 21}, {"ftps", 990}, {"http", 80},   {"https", 443},       {"imaps", 993},
        {"pop3", 110},  {"ssh", 22}, {"smtp", 25},  {"pop3s", 995}, {"submissions", 465}, {"telnet", 23},
    };
    for (const auto& [service, port] : kServices) {
        if (service == name) return port;
    }
    return std::nullopt;
}

// getservbyname(3) would load shared libraries at run time, which a static program must not need.
std::optional<std::uint16_t> service_in_file(std::string_view name) {
    std::ifstream file("/etc/services");
    for (std::string line; std::getline(file, line);) {
        line.resize(std::min(line.find('#'), line.size()));
        std::istringstream words(line);
        std::string word;
        std::string port;
        if (!(words >> word >> port) || !port.ends_with("/tcp")) continue;
        bool found = word == name;
        while (!found && words >> word) found = word == name;
        std::uint16_t number = 0;
        if (found && std::from_chars(port.data(), port.data() + port.size(), number).ec == std::errc{})
            return number;
    }
    return std::nullopt;
}

sockaddr_in6 any_v6(std::uint16_t port) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    address.sin6_addr = in6addr_any;
    return address;
}

sockaddr_in v4(std::uint32_t host, std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(host);
    return address;
}

// An empty descriptor leaves its reason in errno.
template <class Address>
UniqueFd listen_on(int family, const Address& address, int backlog) {
    UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return fd;
    set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    if (family == AF_INET6) set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
    set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
    set_keepalive(fd.get());
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(fd.get(), backlog) != 0) {
        int reason = errno;
        fd.reset();
        errno = reason;
    }
    return fd;
}

std::string address_text(int family, const void* host, std::uint16_t port_in_net_order) {
    char text[INET6_ADDRSTRLEN] = "";
    ::inet_ntop(family, host, text, sizeof text);
    std::string out = family == AF_INET6 ? "[" + std::string(text) + "]" : std::string(text);
    return out + ':' + std::to_string(ntohs(port_in_net_order));
}

}  // namespace

Result<std::uint16_t> resolve_port(std::string_view text) {
    if (auto number = parse_number<std::uint16_t>(text)) return *number;
    if (!text.empty() && (text[0] < '0' || text[0] > '9')) {
        if (auto port = service_in_file(text)) return *port;
        if (auto port = known_service(text)) return *port;
    }
    return Error{Errc::invalid_argument, "invalid port \"" + std::string(text) + "\""};
}

Result<UniqueFd> listen_tcp(std::string_view port, const ListenOptions& options) {
    auto number = resolve_port(port);
    if (!number) return number.error();
    UniqueFd fd;
    if (options.loopback_only) {
        fd = listen_on(AF_INET, v4(INADDR_LOOPBACK, *number), options.backlog);
    } else {
        errno = EAFNOSUPPORT;
        if (options.ipv6) fd = listen_on(AF_INET6, any_v6(*number), options.backlog);
        // EADDRNOTAVAIL: the kernel has IPv6, but it is switched off for all interfaces.
        if (!fd && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
            fd = listen_on(AF_INET, v4(INADDR_ANY, *number), options.backlog);
        }
    }
    if (!fd) return sys_error("listen " + std::string(port), errno);
    return fd;
}

std::uint16_t bound_port(int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
    if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
    if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
    return 0;
}

void set_keepalive(int fd, int seconds) {
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds);
}

std::string peer_text(int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
    if (address.ss_family == AF_INET) {
        const auto& in = reinterpret_cast<const sockaddr_in&>(address);
        return address_text(AF_INET, &in.sin_addr, in.sin_port);
    }
    if (address.ss_family != AF_INET6) return "";
    const auto& in = reinterpret_cast<const sockaddr_in6&>(address);
    if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr))
        return address_text(AF_INET, &in.sin6_addr.s6_addr[12], in.sin6_port);
    return address_text(AF_INET6, &in.sin6_addr, in.sin6_port);
}

}  // namespace sandbox
