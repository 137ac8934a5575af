#pragma once
// The other end of an HTTP connection, by hand: blocking, byte-exact, without opinions.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"

namespace sandbox::test {

struct HttpAnswer {
    int status = 0;  // 0: none came
    std::string head;
    std::map<std::string, std::string> headers;  // names in lower case
    std::string body;
    std::vector<std::string> chunks;
    bool complete = false;  // the body ended as its framing says
    std::string header(const std::string& name) const {
        auto found = headers.find(name);
        return found == headers.end() ? "" : found->second;
    }
};

class HttpPeer {
  public:
    // Calls give up after 20 s.
    explicit HttpPeer(std::uint16_t port, int receive_buffer = 0) {
        fd_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        timeval limit{20, 0};
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        int on = 1;
        ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (receive_buffer > 0) {
            ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
        }
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fd_.reset();
    }

    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            ssize_t count = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(count));
        }
        return true;
    }

    // Waits for one more answer. `head_only`: it is the answer to a HEAD.
    HttpAnswer receive(bool head_only = false) {
        HttpAnswer answer;
        std::size_t end = 0;
        while ((end = in_.find("\r\n\r\n")) == std::string::npos) {
            if (!more()) return answer;
        }
        answer.head = take(end + 4);
        parse(answer);
        if (answer.status == 100 || answer.status == 204 || answer.status == 304 || head_only) {
            answer.complete = true;
        } else if (answer.header("transfer-encoding") == "chunked") {
            receive_chunks(answer);
        } else if (!answer.header("content-length").empty()) {
            std::size_t length = std::stoull(answer.header("content-length"));
            while (in_.size() < length && more()) {
            }
            answer.complete = in_.size() >= length;
            answer.body = take(std::min(length, in_.size()));
        } else {
            while (more()) {
            }
            answer.body = take(in_.size());
            answer.complete = error_ == 0;
        }
        return answer;
    }
    HttpAnswer ask(std::string_view request, bool head_only = false) {
        send(request);
        return receive(head_only);
    }

    // Everything up to the end of the connection.
    std::string rest() {
        while (more()) {
        }
        return take(in_.size());
    }
    // How the connection ended: 0 by a FIN, else errno (ECONNRESET; EAGAIN when it did not within the time).
    int ending() {
        rest();
        return error_;
    }

    void finish_sending() { ::shutdown(fd_.get(), SHUT_WR); }
    void close() { fd_.reset(); }
    void reset() {
        linger at_once{1, 0};
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        fd_.reset();
    }

  private:
    bool more() {
        char buffer[65536];
        ssize_t count = 0;
        do count = ::recv(fd_.get(), buffer, sizeof buffer, 0);
        while (count < 0 && errno == EINTR);
        if (count <= 0) {
            error_ = count < 0 ? errno : 0;
            return false;
        }
        in_.append(buffer, static_cast<std::size_t>(count));
        return true;
    }
    std::string take(std::size_t size) {
        std::string out = in_.substr(0, size);
        in_.erase(0, size);
        return out;
    }
    static void parse(HttpAnswer& answer) {
        std::size_t at = answer.head.find("\r\n");
        if (answer.head.starts_with("HTTP/1.1 ")) answer.status = std::atoi(answer.head.c_str() + 9);
        while (at + 2 < answer.head.size()) {
            at += 2;
            std::size_t end = answer.head.find("\r\n", at);
            std::string line = answer.head.substr(at, end - at);
            std::size_t colon = line.find(':');
            if (colon != std::string::npos) {
                std::string name = line.substr(0, colon);
                std::transform(name.begin(), name.end(), name.begin(),
                               [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
                answer.headers[name] = line.substr(std::min(colon + 2, line.size()));
            }
            at = end;
        }
    }
    void receive_chunks(HttpAnswer& answer) {
        for (;;) {
            std::size_t end = 0;
            while ((end = in_.find("\r\n")) == std::string::npos) {
                if (!more()) return;
            }
            std::size_t size = std::stoull(take(end + 2), nullptr, 16);
            while (in_.size() < size + 2) {
                if (!more()) return;
            }
            std::string chunk = take(size + 2);
            if (size == 0) {
                answer.complete = true;
                return;
            }
            chunk.resize(size);
            answer.body += chunk;
            answer.chunks.push_back(std::move(chunk));
        }
    }

    UniqueFd fd_;
    std::string in_;
    int error_ = 0;
};

}  // namespace sandbox::test
