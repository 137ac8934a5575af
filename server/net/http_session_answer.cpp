// The answer to a request, and whether anybody is there for it.

#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <new>

#include "base/log.hpp"
#include "net/http_session.hpp"
#include "net/http_text.hpp"

namespace sandbox::net {

namespace {

constexpr std::size_t kWatchedBytes = 64 * 1024;  // of pipelined requests, kept while one is being answered
constexpr std::uint64_t kSendfilePortion = 1024 * 1024;
constexpr int kSendfileTurn = 16;

ssize_t send_parts(int socket, std::span<iovec> parts) {
    constexpr int kFlags = MSG_NOSIGNAL | MSG_DONTWAIT;
    if (parts.size() == 1) return ::send(socket, parts.front().iov_base, parts.front().iov_len, kFlags);
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    return ::sendmsg(socket, &message, kFlags);
}

// The Go executor says of these that they leave the connection open; of others HTTP/1.1 has it understood.
constexpr std::string_view kEventStream = "text/event-stream";

iovec vector_of(std::string_view bytes) { return {const_cast<char*>(bytes.data()), bytes.size()}; }

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
    } else if (head_.request.version == 10 || content_type == kEventStream) {
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
    if (body.size() <= 4096) head.append(std::exchange(body, {}));
    iovec all[] = {vector_of(head), vector_of(body)};
    std::span<iovec> parts(all, body.empty() ? 1 : 2);
    while (!send_now(parts)) co_await readiness_.wait_writable();
    co_return !gone_;
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
    const int socket = socket_.get();
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
            co_await readiness_.wait_writable();
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

Task<bool> HttpSession::send(std::string_view first, std::string_view second, std::string_view third) {
    iovec all[] = {vector_of(first), vector_of(second), vector_of(third)};
    std::span<iovec> parts(all);
    while (!send_now(parts)) co_await readiness_.wait_writable();
    co_return !gone_;
}

// Sends what the socket takes and leaves the rest in `parts`. False: it takes no more now.
bool HttpSession::send_now(std::span<iovec>& parts) {
    while (!gone_ && socket_) {
        while (!parts.empty() && parts.front().iov_len == 0) parts = parts.subspan(1);
        if (parts.empty()) break;
        const ssize_t sent = send_parts(socket_.get(), parts);
        if (sent < 0) {
            if (errno == EAGAIN) return false;
            if (errno != EINTR) note_gone();
            continue;
        }
        server_->counters.bytes_out += static_cast<std::uint64_t>(sent);
        auto left = static_cast<std::size_t>(sent);
        for (iovec& part : parts) {
            const std::size_t count = std::min(left, part.iov_len);
            part.iov_base = static_cast<char*>(part.iov_base) + count;
            part.iov_len -= count;
            left -= count;
        }
    }
    return true;
}

void HttpSession::note_gone() {
    if (gone_) return;
    gone_ = true;
    close_after_ = true;
    // A writer that waits for room is woken by the shutdown and sees gone_.
    cut();
    auto callback = std::exchange(on_gone_, nullptr);
    if (!callback) return;
    try {
        callback();
    } catch (const std::bad_alloc& error) {  // The clock, or who is writing, can do nothing about it.
        log::error("disconnect not handled", {{"error", error.what()}});
    }
}

// ---------------------------------------------------------------- disconnect watch

void HttpSession::watch_disconnect(std::function<void()> gone) {
    if (gone_) {
        gone();
        return;
    }
    on_gone_ = std::move(gone);
    in_.consume(std::exchange(last_body_piece_, 0));
    watch_full_ = false;
    readiness_.on_readable([this] { look_for_disconnect(); });
    if (readiness_.readable()) look_for_disconnect();
}

void HttpSession::look_for_disconnect() {
    while (!gone_ && readiness_.readable()) {
        std::span<char> room;
        if (in_.size() < kWatchedBytes) {
            try {
                room = in_.room(4096);
            } catch (const std::bad_alloc&) {  // None, then.
            }
        }
        if (room.empty()) {
            watch_full_ = true;  // From here tick() looks.
            return;
        }
        const ssize_t count = receive(room);
        if (count > 0) in_.commit(static_cast<std::size_t>(count));
        if (count == 0 || (count < 0 && errno != EAGAIN)) note_gone();
    }
}

void HttpSession::end_watch() {
    on_gone_ = nullptr;
    watch_full_ = false;
    readiness_.on_readable({});
}

}  // namespace sandbox::net
