#include "net/http_session.hpp"

#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <cerrno>
#include <cstring>
#include <exception>

#include "base/log.hpp"
#include "base/secret.hpp"
#include "base/url.hpp"
#include "net/http_text.hpp"

namespace sandbox::net {

namespace asio = boost::asio;
namespace {

constexpr std::size_t kReadSize = 64 * 1024;
constexpr std::size_t kWatchedBytes = 64 * 1024;  // of pipelined requests, kept while one is being answered
constexpr std::uint64_t kDrainLimit = 256 * 1024;
constexpr std::uint64_t kSendfilePortion = 1024 * 1024;
constexpr int kSendfileTurn = 16;
constexpr std::chrono::seconds kLinger{2};

void wipe_authorization(Request& request) {
    for (auto& [name, value] : request.headers) {
        if (name == "authorization" && !value.starts_with("Basic ")) wipe(value);  // Basic names a user
    }
}

// What handlers may still want of them is over with the request.
void wipe_tokens(Request& request) {
    for (auto& [name, value] : request.headers) {
        if (name == "x-access-token") wipe(value);
    }
}

}  // namespace

HttpSession::HttpSession(std::shared_ptr<HttpServer::Impl> server, UniqueFd socket)
    : server_(std::move(server)), socket_(server_->loop) {
    boost::system::error_code ec;
    socket_.assign(socket.get(), ec);
    if (!ec) socket.release();
    position_ = server_->sessions.insert(server_->sessions.end(), this);
    ++server_->counters.active;
}

HttpSession::~HttpSession() {
    server_->sessions.erase(position_);
    --server_->counters.active;
}

// ---------------------------------------------------------------- the connection

Task<> HttpSession::run() {
    bool asked_before = false;
    while (!gone_ && !close_after_ && !server_->stopping) {
        if (in_at_ == in_.size()) {
            std::string().swap(in_);  // An idle connection holds no buffer.
            in_at_ = 0;
            idle_ = true;
            waiting_since_ = Clock::now();
            deadline_ = waiting_since_ + server_->limits.idle_time;
            // A connection that comes while we drain may still ask for /health.
            if (server_->draining && asked_before) break;
            if (!co_await wait_readable()) break;
        }
        idle_ = false;
        asked_before = true;
        deadline_ = Clock::now() + server_->limits.head_time;
        std::string_view head;
        if (!co_await read_head(head)) break;
        waiting_since_ = Clock::time_point::max();
        has_asked_ = true;
        auto parsed = parse_head(head);
        ::explicit_bzero(in_.data() + in_at_, head.size());  // It holds the secret.
        consume(head.size());
        start_request();
        if (!parsed) {
            BadRequest bad = parsed.error();
            co_await reject(bad);
            break;
        }
        head_ = std::move(*parsed);
        ++server_->running;
        co_await serve_request();
        --server_->running;
    }
    if (!gone_ && close_after_) co_await linger();
    boost::system::error_code ignored;
    socket_.close(ignored);
}

Task<bool> HttpSession::wait_readable() {
    boost::system::error_code ec;
    co_await socket_.async_wait(asio::posix::descriptor_base::wait_read, asio::redirect_error(use_task, ec));
    co_return !ec;
}

Task<bool> HttpSession::fill() {
    if (in_at_ > 0 && in_at_ == in_.size()) {
        in_.clear();
        in_at_ = 0;
    }
    for (;;) {
        if (!socket_.is_open()) co_return false;
        std::size_t old = in_.size();
        // Grows with what arrives: a small request costs a small buffer, and a body is read in large pieces.
        std::size_t room = old == 0 && body_done_ ? std::size_t{2048} : kReadSize;
        in_.resize(old + room);
        ssize_t count = ::recv(socket_.native_handle(), in_.data() + old, room, MSG_DONTWAIT);
        in_.resize(old + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
        if (count > 0) {
            server_->counters.bytes_in += static_cast<std::uint64_t>(count);
            co_return true;
        }
        if (count < 0 && errno == EINTR) continue;
        if (count == 0 || errno != EAGAIN || !co_await wait_readable()) {
            note_gone();
            co_return false;
        }
    }
}

Task<bool> HttpSession::read_head(std::string_view& head) {
    std::size_t searched = in_at_;
    for (;;) {
        std::size_t end = find_head_end(in_, searched);
        if (end != std::string::npos) {
            if (end - in_at_ > server_->limits.head_bytes) break;
            head = std::string_view(in_).substr(in_at_, end - in_at_);
            co_return true;
        }
        if (in_.size() - in_at_ > server_->limits.head_bytes) break;
        if (in_at_ > 0) {
            in_.erase(0, in_at_);
            in_at_ = 0;
        }
        searched = in_.size() > 3 ? in_.size() - 3 : 0;
        if (!co_await fill()) co_return false;
    }
    start_request();
    BadRequest too_large{431, "Request Header Fields Too Large"};
    co_await reject(too_large);
    co_return false;
}

void HttpSession::consume(std::size_t bytes) { in_at_ += bytes; }

void HttpSession::start_request() {
    status_ = 0;
    framing_ = Framing::none;
    length_left_ = 0;
    finished_ = false;
    body_read_ = 0;
    body_done_ = true;
    last_body_piece_ = 0;
    body_limit_ = server_->limits.body_bytes;
    body_time_ = server_->limits.body_time;
    have_route_ = false;
    chunked_.reset();
    deadline_ = Clock::time_point::max();
}

Task<> HttpSession::reject(BadRequest bad) {
    ++server_->counters.bad_requests;
    head_ = RequestHead{};
    close_after_ = true;
    co_await respond_error(*this, bad.status, bad.message);
    co_await linger();
}

// So that the peer reads the answer: closing with unread input would reset the connection (RFC 9112 9.6). It
// may be in the middle of a large upload, and looks up only when it has sent some more.
Task<> HttpSession::linger() {
    if (gone_ || !socket_.is_open()) co_return;
    ::shutdown(socket_.native_handle(), SHUT_WR);
    deadline_ = Clock::now() + kLinger;
    std::size_t since_turn = 0;
    while (Clock::now() < deadline_) {
        in_.clear();
        in_at_ = 0;
        if (!co_await fill()) break;
        since_turn += in_.size();
        if (since_turn < 1024 * 1024) continue;
        since_turn = 0;
        co_await asio::post(server_->loop, use_task);  // Other connections get their turn.
    }
    gone_ = true;
}

void HttpSession::tick(Clock::time_point now) {
    if (now >= deadline_) cut();
    if (watch_full_ && !gone_ && socket_.is_open()) {
        tcp_info info{};
        socklen_t size = sizeof info;
        if (::getsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
            info.tcpi_state != TCP_ESTABLISHED) {
            note_gone();
        }
    }
}

void HttpSession::close_if_idle() {
    if (idle_) cut();
}

void HttpSession::cut() {
    waiting_since_ = Clock::time_point::max();  // It makes room already.
    if (socket_.is_open()) ::shutdown(socket_.native_handle(), SHUT_RDWR);
}

// ---------------------------------------------------------------- one request

Task<> HttpSession::serve_request() {
    body_done_ = !head_.request.chunked && head_.request.content_length.value_or(0) == 0;
    if (head_.request.chunked) chunked_ = std::make_unique<ChunkedBody>();
    if (!head_.request.keep_alive) close_after_ = true;
    const Clock::time_point started = log::enabled(log::Level::debug) ? Clock::now() : Clock::time_point();
    std::exception_ptr failure;
    try {
        co_await dispatch();
    } catch (...) {
        failure = std::current_exception();
    }
    end_watch();
    if (failure) {
        try {
            std::rethrow_exception(failure);
        } catch (const std::exception& e) {
            log::error("handler failed", {{"path", head_.request.path}, {"error", e.what()}});
        }
        if (answered()) {
            abort();
        } else {
            co_await respond_error(*this, 500, "Internal Server Error");
        }
    }
    if (answered() && !finished_) abort();
    if (!answered() && !gone_) co_await respond_error(*this, 500, "Internal Server Error");
    wipe_tokens(head_.request);
    co_await drain_body();
    log_request(started);
    if (status_ != 0) {
        auto& statuses = have_route_ ? server_->counters.by_route[route_index_] : server_->counters.no_route;
        ++statuses[status_];
    }
}

void HttpSession::log_request(Clock::time_point started) const {
    if (!log::enabled(log::Level::debug)) return;
    auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - started);
    log::debug("request", {{"method", head_.request.method_text},
                           {"path", head_.request.path},
                           {"status", status_},
                           {"peer_gone", gone_},
                           {"ms", took.count()}});
}

// A browser's question before a request of a page of another origin.
Task<bool> HttpSession::answer_preflight() {
    HeaderList headers;
    headers.push_back({"Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"});
    // As asked for: "*" would leave out Authorization.
    const std::string* wanted = head_.request.header("access-control-request-headers");
    std::string_view allowed = "*";
    if (wanted != nullptr) allowed = *wanted;
    headers.push_back({"Access-Control-Allow-Headers", allowed});
    headers.push_back({"Access-Control-Max-Age", "7200"});
    headers.push_back({"Vary", "Access-Control-Request-Headers"});
    return respond(204, "", std::string(), std::move(headers));
}

Task<> HttpSession::dispatch() {
    Request& request = head_.request;
    if (head_.bad_expectation) {
        close_after_ = true;
        co_await respond_error(*this, 417, "Expectation Failed");
        co_return;
    }
    if (server_->any_origin && request.method == Method::options) {
        co_await answer_preflight();
        co_return;
    }
    if (head_.target == "*" && request.method == Method::options) {
        co_await respond(200, "", std::string(), HeaderList());
        co_return;
    }
    auto target = split_target(head_.target);
    if (!target) {
        close_after_ = true;
        co_await respond_error(*this, 400, "Bad Request");
        co_return;
    }
    request.raw_query = target->query;
    std::string canonical = clean_url_path(target->path);
    if (canonical != target->path) {
        std::string location = percent_encode_path(canonical);
        if (!target->query.empty()) location += "?" + target->query;
        HeaderList headers(1, Header{"Location", location});
        co_await respond_error(*this, 301, "Moved Permanently", std::move(headers));
        co_return;
    }
    Router::Match match = server_->router.find(canonical);
    if (match.route == nullptr) {
        co_await respond_error(*this, 404, "404 page not found");
        co_return;
    }
    have_route_ = true;
    route_index_ = match.index;
    request.path = std::move(match.path);
    const Route& route = *match.route;
    if (!route.open) {
        std::optional<Denial> denial = co_await server_->guard(request);
        wipe_authorization(request);
        if (denial) {
            if (head_.expects_continue) close_after_ = true;
            if (!denial->json.empty()) {
                co_await respond(denial->status, "application/json; charset=utf-8", denial->json,
                                 HeaderList());
            } else if (denial->status == 401) {
                HeaderList headers(1, Header{"WWW-Authenticate", "Bearer"});
                co_await respond_error(*this, denial->status, denial->message, std::move(headers));
            } else {
                co_await respond_error(*this, denial->status, denial->message);
            }
            co_return;
        }
    }
    if (!Router::allows(route, request.method)) {
        std::string allowed = Router::allowed(route);
        HeaderList headers(1, Header{"Allow", allowed});
        co_await respond_error(*this, 405, "Method not allowed", std::move(headers));
        co_return;
    }
    if (server_->draining && !route.open) {
        co_await respond_error(*this, 503, "the sandbox is shutting down");
        co_return;
    }
    co_await route.handler(*this);
}

// ---------------------------------------------------------------- the body

Task<Result<std::string_view>> HttpSession::read_body() {
    if (body_done_) {
        consume(std::exchange(last_body_piece_, 0));
        co_return std::string_view();
    }
    if (head_.expects_continue) {
        head_.expects_continue = false;
        if (in_at_ == in_.size() && !co_await send("HTTP/1.1 100 Continue\r\n\r\n")) {
            co_return Error{Errc::cancelled, "client is gone", 0};
        }
    }
    if (body_limit_ != 0 && head_.request.content_length.value_or(0) > body_limit_) {
        close_after_ = true;
        co_return Error{Errc::too_large, "request body too large", 0};
    }
    Result<std::string_view> piece = co_await next_of_body();
    deadline_ = Clock::time_point::max();
    if (!piece) {
        close_after_ = true;
        co_return piece;
    }
    body_read_ += piece->size();
    if (body_limit_ != 0 && body_read_ > body_limit_) {
        close_after_ = true;
        co_return Error{Errc::too_large, "request body too large", 0};
    }
    co_return piece;
}

Task<Result<std::string_view>> HttpSession::next_of_body() {
    consume(std::exchange(last_body_piece_, 0));
    decoded_.clear();
    for (;;) {
        std::string_view available = std::string_view(in_).substr(in_at_);
        if (!available.empty()) {
            if (!chunked_) {
                std::uint64_t left = *head_.request.content_length - body_read_;
                std::string_view piece = available.substr(
                    0, static_cast<std::size_t>(std::min<std::uint64_t>(left, available.size())));
                last_body_piece_ = piece.size();
                body_done_ = piece.size() == left;
                co_return piece;
            }
            Result<std::size_t> taken = chunked_->feed(available, decoded_, body_limit_);
            if (!taken) co_return taken.error();
            consume(*taken);
            body_done_ = chunked_->done();
            if (!decoded_.empty() || body_done_) co_return std::string_view(decoded_);
        }
        if (in_at_ > 0) {
            in_.erase(0, in_at_);
            in_at_ = 0;
        }
        if (in_.size() > server_->limits.head_bytes)
            co_return Error{Errc::invalid_argument, "malformed chunked body", 0};
        deadline_ = Clock::now() + body_time_;
        if (!co_await fill()) co_return Error{Errc::cancelled, "client is gone", 0};
    }
}

// What the handler left unread stands in the way of the next request.
Task<> HttpSession::drain_body() {
    consume(std::exchange(last_body_piece_, 0));
    if (body_done_ || close_after_ || gone_) {
        if (!body_done_) close_after_ = true;
        co_return;
    }
    if (head_.expects_continue || head_.request.content_length.value_or(0) > kDrainLimit) {
        close_after_ = true;
        co_return;
    }
    std::uint64_t total = 0;
    while (!body_done_) {
        Result<std::string_view> piece = co_await next_of_body();
        if (piece) body_read_ += piece->size();
        if (!piece || (total += piece->size()) > kDrainLimit) {
            close_after_ = true;
            break;
        }
    }
    consume(std::exchange(last_body_piece_, 0));
    deadline_ = Clock::time_point::max();
}

// ---------------------------------------------------------------- the answer

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
    consume(std::exchange(last_body_piece_, 0));
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
        std::size_t old = in_.size();
        if (old - in_at_ >= kWatchedBytes) {
            watch_full_ = true;  // From here tick() looks.
            return;
        }
        in_.resize(old + 4096);
        ssize_t count = ::recv(socket_.native_handle(), in_.data() + old, 4096, MSG_DONTWAIT);
        in_.resize(old + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
        if (count > 0) continue;
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
