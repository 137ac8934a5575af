#pragma once
// A server that says what a test tells it to say, right or wrong. Plain sockets and threads: nothing of it is
// shared with what it tests.

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "koyeb/sandbox/types.hpp"

namespace koyeb::sandbox::fake {

struct Request {
    std::string method;
    std::string target;
    std::map<std::string, std::string> headers;  // names in lower case
    std::string body;
    int connection = 0;  // counted from 1
    int number = 0;      // of all requests, counted from 1
};

// One accepted connection, on a thread of its own.
class Peer {
  public:
    explicit Peer(int fd) : fd_(fd) {}
    ~Peer() { close(); }
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    // False when the client has closed instead.
    bool read_request(Request& request) {
        std::size_t end = 0;
        while ((end = received_.find("\r\n\r\n")) == std::string::npos)
            if (!receive()) return false;
        const std::string head = received_.substr(0, end);
        received_.erase(0, end + 4);
        request.headers.clear();
        const std::size_t first_end = head.find("\r\n");
        const std::string first = head.substr(0, first_end);
        request.method = first.substr(0, first.find(' '));
        request.target = first.substr(first.find(' ') + 1, first.rfind(' ') - first.find(' ') - 1);
        for (std::size_t at = first_end; at != std::string::npos;) {
            const std::size_t next = head.find("\r\n", at + 2);
            const std::string line = head.substr(at + 2, next == std::string::npos ? next : next - at - 2);
            std::string name = line.substr(0, line.find(':'));
            for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
            request.headers[name] = line.substr(line.find(':') + 2);
            at = next;
        }
        if (request.headers["transfer-encoding"] == "chunked") return read_chunks(request.body);
        const std::size_t length =
            request.headers.count("content-length") ? std::stoul(request.headers["content-length"]) : 0;
        while (received_.size() < length)
            if (!receive()) return false;
        request.body = received_.substr(0, length);
        received_.erase(0, length);
        return true;
    }
    void write(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (n <= 0) return;
            bytes.remove_prefix(static_cast<std::size_t>(n));
        }
    }
    void answer(int status, std::string_view body, std::string_view extra = "") {
        write("HTTP/1.1 " + std::to_string(status) +
              " X\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
              "\r\n" + std::string(extra) + "\r\n" + std::string(body));
    }
    void begin_events() {
        write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    }
    void chunk(std::string_view data) {
        char size[32];
        const int n = std::snprintf(size, sizeof size, "%zx\r\n", data.size());
        write(std::string(size, static_cast<std::size_t>(n)) + std::string(data) + "\r\n");
    }
    void end_chunks() { write("0\r\n\r\n"); }
    // Waits until the client closes its side. False after ten seconds.
    bool wait_closed() {
        for (;;) {
            pollfd wanted{fd_, POLLIN, 0};
            if (::poll(&wanted, 1, 10000) <= 0) return false;
            char bytes[4096];
            if (::recv(fd_, bytes, sizeof bytes, 0) <= 0) return true;
        }
    }
    void reset() {
        const linger hard{1, 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        close();
    }
    void close() {
        if (fd_ >= 0) ::close(fd_);
        fd_ = -1;
    }

  private:
    bool read_chunks(std::string& body) {
        body.clear();
        for (;;) {
            std::size_t line = 0;
            while ((line = received_.find("\r\n")) == std::string::npos)
                if (!receive()) return false;
            const std::size_t size = std::stoul(received_.substr(0, line), nullptr, 16);
            while (received_.size() < line + 2 + size + 2)
                if (!receive()) return false;
            body += received_.substr(line + 2, size);
            received_.erase(0, line + 2 + size + 2);
            if (size == 0) return true;
        }
    }
    bool receive() {
        char bytes[65536];
        const ssize_t n = ::recv(fd_, bytes, sizeof bytes, 0);
        if (n <= 0) return false;
        received_.append(bytes, static_cast<std::size_t>(n));
        return true;
    }

    int fd_;
    std::string received_;
};

class Server {
  public:
    // Returns false to close the connection; true to read the next request of it. Runs on the connection's
    // thread: what it shares with a test is atomic, or asked for by seen().
    using Handler = std::function<bool(Peer&, const Request&)>;

    explicit Server(Handler handler) : handler_(std::move(handler)) {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        void* raw = &address;
        EXPECT_EQ(::bind(listener_, static_cast<sockaddr*>(raw), size), 0);
        EXPECT_EQ(::listen(listener_, 64), 0);
        ::getsockname(listener_, static_cast<sockaddr*>(raw), &size);
        port_ = ntohs(address.sin_port);
        acceptor_ = std::thread([this] { accept_all(); });
    }
    ~Server() {
        stopping_ = true;
        ::shutdown(listener_, SHUT_RDWR);
        acceptor_.join();
        {
            const std::lock_guard lock(mutex_);
            for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
        }
        for (std::thread& thread : threads_) thread.join();
        ::close(listener_);
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    int port() const { return port_; }
    std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
    ConnectionInfo info() const {
        ConnectionInfo info;
        info.url = url();
        info.secret = "s3cret";
        info.timeout = Seconds{5};
        info.retry_backoff = Seconds{0.01};
        return info;
    }
    int connections() const { return connections_; }
    int requests() const { return requests_; }
    // The requests so far, in the order of arrival.
    std::vector<Request> seen() const {
        const std::lock_guard lock(mutex_);
        return seen_;
    }

  private:
    void accept_all() {
        while (!stopping_) {
            const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (fd < 0) return;
            const int connection = ++connections_;
            const std::lock_guard lock(mutex_);
            open_.push_back(fd);
            threads_.emplace_back([this, fd, connection] { serve(fd, connection); });
        }
    }
    void serve(int fd, int connection) {
        // The destructor's shutdown() must never meet a number that was used again: the peer works on a copy,
        // and the original is closed once this thread is out of the list.
        {
            Peer peer(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
            Request request;
            while (peer.read_request(request)) {
                request.connection = connection;
                {
                    const std::lock_guard lock(mutex_);
                    request.number = ++requests_;
                    seen_.push_back(request);
                }
                if (!handler_(peer, request)) break;
            }
        }
        const std::lock_guard lock(mutex_);
        std::erase(open_, fd);
        ::close(fd);
    }

    Handler handler_;
    int listener_ = -1;
    int port_ = 0;
    std::atomic<bool> stopping_ = false;
    std::atomic<int> connections_ = 0;
    std::atomic<int> requests_ = 0;
    mutable std::mutex mutex_;
    std::vector<Request> seen_;
    std::vector<int> open_;
    std::vector<std::thread> threads_;
    std::thread acceptor_;
};

}  // namespace koyeb::sandbox::fake
