// The answer to a request, and whether anybody is there for it.

#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <cerrno>

#include "net/http_session.hpp"
#include "net/http_text.hpp"

namespace sandbox::net {

namespace asio = boost::asio;

namespace {

constexpr std::size_t kWatchedBytes = 64 * 1024;  // of pipelined requests, kept while one is being answered
constexpr std::uint64_t kSendfilePortion = 1024 * 1024;
constexpr int kSendfileTurn = 16;

}  // namespace

std::string HttpSession::response_head(int status, std::string_view content_type, const HeaderList& headers,
                                       Framing framing, std::uint64_t length) {
    status_ = status;
    framing_ = framing;
    length_left_ = length;
    if (server_->draining || framing == Framing::until_close || (!body_done_ && head_.expects_continue))
        close_after_ = true;
    if (!body_done_ && head_.request.content_length.value_or(0) - body_read_ > kDrainLimit)
        close_after_ = true;
    std::string out;
    out.reserve(256);
    out += "HTTP/1.1 ";
    append_status_line(out, status);
    for (const Header& header : headers) {
        out.append(header.name).append(": ").append(header.value).append("\r\n");
    }
    if (server_->any_origin) {
        out += "Access-Control-Allow-Origin: *\r\n";
        if (head_.request.header("origin") != nullptr) out += "Access-Control-Expose-Headers: *\r\n";
    }
    if (!content_type.empty()) out.append("Content-Type: ").append(content_type).append("\r\n");
    out.append("Date: ").append(http_date_now()).append("\r\n");
    if (framing == Framing::chunked) out += "Transfer-Encoding: chunked\r\n";
    // A 204 has none, and a 304 would have to tell that of the 200 (RFC 9110, 8.6).
    if (framing == Framing::length && status != 204 && status != 304)
        out.append("Content-Length: ").append(std::to_string(length)).append("\r\n");
    if (close_after_) {
        out += "Connection: close\r\n";
    } else if (head_.request.version == 10) {
        out += "Connection: keep-alive\r\n";
    }
    out += "\r\n";
    return out;
}

// Not coroutines: what the caller passes is read before anything is awaited.
Task<bool> HttpSession::respond(int status, std::string_view content_type, std::string body,
                                HeaderList headers) {
    std::string head = response_head(status, content_type, headers, Framing::length, body.size());
    finished_ = true;
    if (head_.request.method == Method::head || status == 204 || status == 304) body.clear();
    return send_owned(std::move(head), std::move(body));
}

Task<bool> HttpSession::begin(int status, std::string_view content_type, HeaderList headers,
                              std::optional<std::uint64_t> length) {
    Framing framing = length                        ? Framing::length
                      : head_.request.version == 10 ? Framing::until_close
                                                    : Framing::chunked;
    return send_owned(response_head(status, content_type, headers, framing, length.value_or(0)), {});
}

Task<bool> HttpSession::send_owned(std::string head, std::string body) {
    if (body.size() <= 4096) {
        head += body;
        co_return co_await send(head);
    }
    co_return co_await send(head, body);
}

Task<bool> HttpSession::write(std::string_view bytes) {
    if (bytes.empty() || head_.request.method == Method::head) co_return !gone_;
    if (framing_ != Framing::chunked) {
        length_left_ -= std::min<std::uint64_t>(length_left_, bytes.size());
        co_return co_await send(bytes);
    }
    char size_line[20];
    std::string_view size_text = chunk_size_line(bytes.size(), size_line);
    co_return co_await send(size_text, bytes, "\r\n");
}

Task<bool> HttpSession::write_file(BlockingPool& pool, int fd, std::uint64_t offset, std::uint64_t length) {
    if (head_.request.method == Method::head) co_return !gone_;
    length_left_ -= std::min(length_left_, length);
    auto position = static_cast<off_t>(offset);
    std::uint64_t left = length;
    // The socket stays open until run() ends, whatever happens meanwhile; a cut only shuts it down.
    const int socket = socket_.native_handle();
    const std::string file = "/proc/self/fd/" + std::to_string(fd);  // tells the pool whose file system it is
    auto send_some = [&]() -> int {
        // Then others get the thread, however fast the peer reads.
        for (int turn = 0; left > 0 && turn < kSendfileTurn; ++turn) {
            auto portion = static_cast<std::size_t>(std::min<std::uint64_t>(left, kSendfilePortion));
            ssize_t count = ::sendfile(socket, fd, &position, portion);
            if (count > 0) {
                left -= static_cast<std::uint64_t>(count);
            } else if (count == 0 || errno != EINTR) {
                return count == 0 ? EIO : errno;
            }
        }
        return 0;
    };
    while (left > 0 && !gone_) {
        const std::uint64_t before = left;
        const int failure = co_await pool.run_on(file, send_some);
        server_->counters.bytes_out += before - left;
        if (failure == EAGAIN) {
            boost::system::error_code ec;
            co_await socket_.async_wait(asio::posix::descriptor_base::wait_write,
                                        asio::redirect_error(use_task, ec));
        } else if (failure != 0) {
            abort();  // The file is shorter than promised, or the peer is gone.
        }
    }
    co_return !gone_;
}

Task<bool> HttpSession::finish() {
    if (finished_) co_return !gone_;
    finished_ = true;
    if (head_.request.method == Method::head) co_return !gone_;
    if (framing_ == Framing::chunked) co_return co_await send("0\r\n\r\n");
    if (framing_ == Framing::length && length_left_ > 0) abort();
    co_return !gone_;
}

void HttpSession::abort() {
    finished_ = true;
    close_after_ = true;
    cut();
    note_gone();
}

Task<bool> HttpSession::send(std::string_view first_part, std::string_view second_part,
                             std::string_view third_part) {
    iovec vectors[3];
    std::size_t count = 0;
    for (std::string_view part : {first_part, second_part, third_part}) {
        if (!part.empty()) vectors[count++] = {const_cast<char*>(part.data()), part.size()};
    }
    std::size_t first = 0;
    while (first < count) {
        if (gone_ || !socket_.is_open()) co_return false;
        msghdr message{};
        message.msg_iov = vectors + first;
        message.msg_iovlen = count - first;
        ssize_t sent = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN) {
                note_gone();
                co_return false;
            }
            boost::system::error_code ec;
            co_await socket_.async_wait(asio::posix::descriptor_base::wait_write,
                                        asio::redirect_error(use_task, ec));
            continue;
        }
        server_->counters.bytes_out += static_cast<std::uint64_t>(sent);
        auto left = static_cast<std::size_t>(sent);
        while (first < count && left >= vectors[first].iov_len) left -= vectors[first++].iov_len;
        if (first < count) {
            vectors[first].iov_base = static_cast<char*>(vectors[first].iov_base) + left;
            vectors[first].iov_len -= left;
        }
    }
    co_return true;
}

void HttpSession::note_gone() {
    if (gone_) return;
    gone_ = true;
    close_after_ = true;
    // A writer that waits for room is woken by the shutdown and sees gone_.
    cut();
    if (auto callback = std::exchange(on_gone_, nullptr)) callback();
}

// ---------------------------------------------------------------- disconnect watch

void HttpSession::watch_disconnect(std::function<void()> gone) {
    if (gone_) {
        gone();
        return;
    }
    on_gone_ = std::move(gone);
    in_.consume(std::exchange(last_body_piece_, 0));
    watching_ = true;
    watch_full_ = false;
    if (!watch_armed_) arm_watch();
}

void HttpSession::arm_watch() {
    watch_armed_ = true;
    socket_.async_wait(asio::posix::descriptor_base::wait_read,
                       [self = shared_from_this()](boost::system::error_code ec) { self->on_watch(ec); });
}

void HttpSession::on_watch(boost::system::error_code ec) {
    watch_armed_ = false;
    if (ec || !watching_ || gone_) {
        if (watching_ && !gone_ && ec == asio::error::operation_aborted && socket_.is_open()) arm_watch();
        return;
    }
    for (;;) {
        if (in_.size() >= kWatchedBytes) {
            watch_full_ = true;  // From here tick() looks.
            return;
        }
        const std::span<char> room = in_.room(4096);
        ssize_t count = ::recv(socket_.native_handle(), room.data(), room.size(), MSG_DONTWAIT);
        if (count > 0) {
            in_.commit(static_cast<std::size_t>(count));
            continue;
        }
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == EAGAIN) break;
        note_gone();
        return;
    }
    arm_watch();
}

void HttpSession::end_watch() {
    on_gone_ = nullptr;
    watching_ = false;
    watch_full_ = false;
    if (watch_armed_ && socket_.is_open()) {
        boost::system::error_code ignored;
        socket_.cancel(ignored);
    }
}

}  // namespace sandbox::net
