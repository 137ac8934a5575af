#pragma once
// What the programs of this folder share. Each does one thing, prints one line of JSON, and ends with 1 and a
// message when anything is not as it must be: a wrong answer must never count as a fast one.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

using Clock = std::chrono::steady_clock;

[[noreturn]] inline void fail(const std::string& what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    std::exit(1);
}
[[noreturn]] inline void fail_errno(const std::string& what) { fail(what + ": " + std::strerror(errno)); }

inline double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

inline long number(const char* text) {
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    if (end == text || *end != '\0' || value < 0) fail(std::string("not a number: ") + text);
    return value;
}

inline std::string read_file(const char* path) {
    std::FILE* file = std::fopen(path, "rb");
    if (file == nullptr) fail_errno(path);
    std::string text;
    std::vector<char> block(1 << 20);
    while (const std::size_t size = std::fread(block.data(), 1, block.size(), file))
        text.append(block.data(), size);
    std::fclose(file);
    return text;
}

// As many descriptors as the system lets us have.
inline void raise_descriptor_limit() {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

inline sockaddr_in loopback(long port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

// -1 and errno when it fails.
inline int try_connect(long port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) fail_errno("socket");
    const sockaddr_in address = loopback(port);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        const int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

inline int connect_to(long port) {
    const int fd = try_connect(port);
    if (fd < 0) fail_errno("connect");
    return fd;
}

// A listener on a free port of loopback, which it prints.
inline int listen_and_print_port() {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) fail_errno("socket");
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        fail_errno("listen");
    std::printf("{\"port\":%d}\n", ntohs(address.sin_port));
    std::fflush(stdout);
    return fd;
}

inline void send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) fail_errno("send");
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
}

// The q-th part of the sorted values, 0 <= q < 1.
inline double quantile(const std::vector<float>& sorted, double q) {
    if (sorted.empty()) return 0;
    return static_cast<double>(sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size()))]);
}

// CPU time of this process, in seconds, without that of its children.
inline double own_cpu() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// {"count":…,"seconds":…,"p50_us":…,"p99_us":…,"cpu_us":…}; the latencies are in seconds, `cpu` is that of
// all together, in seconds.
inline void print_latencies(std::vector<float> latencies, double seconds, double cpu = own_cpu()) {
    std::sort(latencies.begin(), latencies.end());
    const auto count = static_cast<double>(std::max<std::size_t>(latencies.size(), 1));
    std::printf("{\"count\":%zu,\"seconds\":%.6f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"cpu_us\":%.1f}\n",
                latencies.size(), seconds, quantile(latencies, 0.5) * 1e6, quantile(latencies, 0.99) * 1e6,
                cpu / count * 1e6);
}

}  // namespace bench
