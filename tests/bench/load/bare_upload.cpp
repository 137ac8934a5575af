// bench_bare_upload PATH
// The floor of an upload with HTTP around it: one connection at a time, and what comes on it behind the head
// is received and written to the new file PATH, looked at by nobody. Takes a free port, prints it, and ends
// by a signal.

#include <fcntl.h>
#include <poll.h>

#include "tools.hpp"

namespace bench {
namespace {

void write_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t written = write(fd, bytes.data(), bytes.size());
        if (written < 0) fail_errno("write");
        bytes.remove_prefix(static_cast<std::size_t>(written));
    }
}

std::size_t content_length(const std::string& head) {
    constexpr std::string_view kName = "Content-Length: ";
    const std::size_t at = head.find(kName);
    if (at == std::string::npos) fail("a request without a length");
    return std::strtoull(head.c_str() + at + kName.size(), nullptr, 10);
}

void take_one(int fd, const char* path) {
    static char buffer[256 * 1024];
    std::string head;
    std::size_t end;
    while ((end = head.find("\r\n\r\n")) == std::string::npos) {
        const ssize_t size = recv(fd, buffer, sizeof buffer, 0);
        if (size <= 0) return;
        head.append(buffer, static_cast<std::size_t>(size));
    }
    const std::size_t length = content_length(head);
    const int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file < 0) fail_errno(path);
    std::size_t done = head.size() - (end + 4);
    write_all(file, std::string_view(head).substr(end + 4));
    while (done < length) {
        const ssize_t size = recv(fd, buffer, sizeof buffer, 0);
        if (size <= 0) fail("the body has ended early");
        write_all(file, std::string_view(buffer, static_cast<std::size_t>(size)));
        done += static_cast<std::size_t>(size);
    }
    close(file);
    send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
    using namespace bench;
    if (argc != 2) fail("usage: bench_bare_upload PATH");
    const int listener = listen_and_print_port();
    for (;;) {
        pollfd ready{listener, POLLIN, 0};
        poll(&ready, 1, -1);
        const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) continue;
        take_one(fd, argv[1]);
        close(fd);
    }
}
