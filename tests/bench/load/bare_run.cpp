// bench_bare_run SCRIPT
// The floor of /run and /run_streaming with HTTP around it: one connection at a time, and for whatever comes
// on it a shell with SCRIPT, whose output goes out as it comes, looked at by nobody. Takes a free port,
// prints it, and ends by a signal.

#include <poll.h>
#include <sys/uio.h>

#include "child.hpp"

namespace bench {
namespace {

void send_parts(int fd, const std::string& before, std::string_view bytes, std::string_view after) {
    iovec parts[3] = {{const_cast<char*>(before.data()), before.size()},
                      {const_cast<char*>(bytes.data()), bytes.size()},
                      {const_cast<char*>(after.data()), after.size()}};
    const std::size_t all = before.size() + bytes.size() + after.size();
    const ssize_t sent = writev(fd, parts, 3);
    if (sent < 0) fail_errno("writev");
    if (static_cast<std::size_t>(sent) == all) return;
    // A blocking socket takes all, unless a signal came in between; nobody sends one.
    fail("a short write");
}

void answer(int fd, const char* script) {
    std::string before =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    const Child child = start_shell(script);
    static char buffer[64 * 1024];
    for (;;) {
        const ssize_t size = read(child.out, buffer, sizeof buffer);
        if (size <= 0) break;
        char length[24];
        std::snprintf(length, sizeof length, "%zx\r\n", static_cast<std::size_t>(size));
        before += length;
        send_parts(fd, before, std::string_view(buffer, static_cast<std::size_t>(size)), "\r\n");
        before.clear();
    }
    close(child.out);
    read_to_end(child.err);
    expect_success(child);
    send_parts(fd, before, "8\r\n\"code\":0\r\n", "0\r\n\r\n");
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
    using namespace bench;
    if (argc != 2) fail("usage: bench_bare_run SCRIPT");
    const int listener = listen_and_print_port();
    char request[65536];
    for (;;) {
        pollfd ready{listener, POLLIN, 0};
        poll(&ready, 1, -1);
        const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) continue;
        const int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        while (recv(fd, request, sizeof request, 0) > 0) answer(fd, argv[1]);
        close(fd);
    }
}
