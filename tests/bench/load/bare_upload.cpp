// bench_bare_upload PATH [apart]
// The floor of an upload with HTTP around it: one connection at a time, and what comes on it behind the head
// is received and written to the new file PATH, looked at by nobody. With `apart` a second thread writes
// while the next piece is received, as it must be where nobody else is to wait for the file system. Takes a
// free port, prints it, and ends by a signal.

#include <fcntl.h>
#include <poll.h>

#include <array>
#include <condition_variable>
#include <mutex>
#include <thread>

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

class WritingThread {
  public:
    WritingThread() {
        std::thread([this] { run(); }).detach();
    }
    // Waits until the piece before is written. `piece` must stay as it is until the next call has ended.
    void write(int file, std::string_view piece) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return piece_.empty(); });
        file_ = file;
        piece_ = piece;
        changed_.notify_all();
    }
    void wait() { write(-1, {}); }

  private:
    [[noreturn]] void run() {
        std::unique_lock lock(mutex_);
        for (;;) {
            changed_.wait(lock, [this] { return !piece_.empty(); });
            lock.unlock();
            write_all(file_, piece_);
            lock.lock();
            piece_ = {};
            changed_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    int file_ = -1;
    std::string_view piece_;
};

void receive_and_write(int fd, int file, std::size_t length) {
    static char buffer[256 * 1024];
    while (length > 0) {
        const ssize_t size = recv(fd, buffer, sizeof buffer, 0);
        if (size <= 0) fail("the body has ended early");
        write_all(file, std::string_view(buffer, static_cast<std::size_t>(size)));
        length -= static_cast<std::size_t>(size);
    }
}

void receive_and_hand_over(int fd, int file, std::size_t length, WritingThread& writer) {
    constexpr std::size_t kPiece = 1024 * 1024;
    constexpr std::size_t kRead = 256 * 1024;
    static std::array<std::array<char, kPiece>, 2> pieces;
    for (std::size_t n = 0; length > 0; ++n) {
        std::array<char, kPiece>& piece = pieces[n % 2];
        std::size_t filled = 0;
        while (filled < std::min(kPiece, length)) {
            const ssize_t size = recv(fd, piece.data() + filled, std::min(kPiece - filled, kRead), 0);
            if (size <= 0) fail("the body has ended early");
            filled += static_cast<std::size_t>(size);
        }
        writer.write(file, std::string_view(piece.data(), filled));
        length -= filled;
    }
    writer.wait();
}

std::size_t content_length(const std::string& head) {
    constexpr std::string_view kName = "Content-Length: ";
    const std::size_t at = head.find(kName);
    if (at == std::string::npos) fail("a request without a length");
    return std::strtoull(head.c_str() + at + kName.size(), nullptr, 10);
}

void take_one(int fd, const char* path, WritingThread* writer) {
    static char buffer[4096];
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
    const std::size_t done = head.size() - (end + 4);
    write_all(file, std::string_view(head).substr(end + 4));
    if (writer == nullptr) {
        receive_and_write(fd, file, length - done);
    } else {
        receive_and_hand_over(fd, file, length - done, *writer);
    }
    close(file);
    send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
    using namespace bench;
    const bool apart = argc == 3 && std::string_view(argv[2]) == "apart";
    if (argc != 2 && !apart) fail("usage: bench_bare_upload PATH [apart]");
    WritingThread* const writer = apart ? new WritingThread : nullptr;
    const int listener = listen_and_print_port();
    for (;;) {
        pollfd ready{listener, POLLIN, 0};
        poll(&ready, 1, -1);
        const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) continue;
        take_one(fd, argv[1], writer);
        close(fd);
    }
}
