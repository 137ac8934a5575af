#include "net/http_session.hpp"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <exception>

#include "base/credentials.hpp"
#include "base/log.hpp"
#include "base/on_exit.hpp"
#include "base/secret.hpp"
#include "base/url.hpp"
#include "net/http_text.hpp"

namespace sandbox::net {

namespace asio = boost::asio;
namespace {

constexpr std::size_t kFirstReadSize = 1024;  // what malloc(3) keeps at hand for each thread
constexpr std::size_t kReadSize = 64 * 1024;
// Requests, and pieces of bodies, that a connection may have taken without waiting before others get their
// turn.
constexpr unsigned kStepsPerTurn = 8;
constexpr std::chrono::seconds kLinger{2};

void wipe_authorization(Request& request) {
    for (auto& [name, value] : request.headers) {
        if (name == "authorization" && !credentials(&value, "basic")) wipe(value);  // Basic names a user.
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
    : server_(std::move(server)), socket_(std::move(socket)), readiness_(server_->loop) {
    if (!readiness_.start(socket_.get())) socket_.reset();
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
        if (in_.empty()) {
            idle_ = true;
            waiting_since_ = Clock::now();
            deadline_ = waiting_since_ + server_->limits.idle_time;
            // A connection that comes while we drain may still ask for /health.
            if (server_->draining && asked_before) break;
            // As fill(), with a coroutine less for each request.
            Filled filled = fill_now(nullptr);
            while (filled == Filled::none) {
                steps_ = 0;
                if (!co_await readiness_.wait_readable()) break;
                filled = fill_now(nullptr);
            }
            if (filled != Filled::some) break;
        }
        idle_ = false;
        asked_before = true;
        std::string_view head = whole_head();  // Most come so.
        if (head.empty() && !co_await read_head(head)) break;
        waiting_since_ = Clock::time_point::max();
        has_asked_ = true;
        auto parsed = parse_head(head);
        in_.wipe(head.size());  // It holds the secret.
        start_request();
        if (!parsed) {
            BadRequest bad = parsed.error();
            co_await reject(bad);
            break;
        }
        head_ = std::move(*parsed);
        ++server_->running;
        auto ended = [this] { --server_->running; };
        {
            const OnExit counted(ended);
            co_await serve_request();
        }
        if (turn_is_over()) co_await asio::post(server_->loop, use_task);
    }
    if (!gone_ && close_after_) co_await linger();
    readiness_.stop();
    socket_.reset();
}

HttpSession::Filled HttpSession::fill_now(std::span<char>* outside) {
    if (readiness_.readable()) {
        // Grows with what arrives: a small request costs a small buffer, and a body is read in large pieces.
        const std::size_t wanted = in_.empty() && body_done_ ? kFirstReadSize : kReadSize;
        const ssize_t count = receive(outside != nullptr ? *outside : in_.room(wanted));
        if (count > 0) {
            const auto received = static_cast<std::size_t>(count);
            if (outside == nullptr) {
                in_.commit(received);
            } else {
                *outside = outside->first(received);
            }
            return Filled::some;
        }
        if (count == 0 || errno != EAGAIN) {
            note_gone();
            return Filled::end;
        }
    }
    if (in_.empty() && body_done_) in_.release();  // An idle connection holds no buffer.
    return Filled::none;
}

bool HttpSession::turn_is_over() {
    if (++steps_ < kStepsPerTurn) return false;
    steps_ = 0;
    return true;
}

Task<bool> HttpSession::fill_or_receive(std::span<char>* outside) {
    if (turn_is_over()) co_await asio::post(server_->loop, use_task);
    for (;;) {
        const Filled filled = fill_now(outside);
        if (filled != Filled::none) co_return filled == Filled::some;
        steps_ = 0;
        if (co_await readiness_.wait_readable()) continue;
        note_gone();
        co_return false;
    }
}

ssize_t HttpSession::receive(std::span<char> room) {
    ssize_t count;
    do {
        count = ::recv(socket_.get(), room.data(), room.size(), MSG_DONTWAIT);
    } while (count < 0 && errno == EINTR);
    if (count > 0) {
        server_->counters.bytes_in += static_cast<std::uint64_t>(count);
        if (static_cast<std::size_t>(count) < room.size()) readiness_.took_all();
    } else if (count < 0 && errno == EAGAIN) {
        readiness_.drained();
    }
    return count;
}

std::string_view HttpSession::whole_head(std::size_t search_from) const {
    const std::size_t end = find_head_end(in_.bytes(), search_from);
    if (end == std::string_view::npos || end > server_->limits.head_bytes) return {};
    return in_.bytes().substr(0, end);
}

Task<bool> HttpSession::read_head(std::string_view& head) {
    deadline_ = Clock::now() + server_->limits.head_time;
    std::size_t searched = 0;
    for (;;) {
        head = whole_head(searched);
        if (!head.empty()) co_return true;
        if (in_.size() > server_->limits.head_bytes) break;
        searched = in_.size() > 3 ? in_.size() - 3 : 0;
        if (!co_await fill()) co_return false;
    }
    start_request();
    BadRequest too_large{431, "Request Header Fields Too Large"};
    co_await reject(too_large);
    co_return false;
}

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
    head_ = RequestHead{};
    close_after_ = true;
    co_await respond_error(*this, bad.status, bad.message);
    co_await linger();
}

// So that the peer reads the answer: closing with unread input would reset the connection (RFC 9112 9.6). It
// may be in the middle of a large upload, and looks up only when it has sent some more.
Task<> HttpSession::linger() {
    if (gone_ || !socket_) co_return;
    ::shutdown(socket_.get(), SHUT_WR);
    deadline_ = Clock::now() + kLinger;
    while (Clock::now() < deadline_) {
        in_.consume(in_.size());
        const bool more = co_await fill();  // named: see scripts/check-coroutines
        if (!more) break;
    }
    gone_ = true;
}

void HttpSession::tick(Clock::time_point now) {
    if (now >= deadline_) cut();
    if (watch_full_ && !gone_ && socket_) {
        tcp_info info{};
        socklen_t size = sizeof info;
        if (::getsockopt(socket_.get(), IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
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
    if (socket_) ::shutdown(socket_.get(), SHUT_RDWR);
}

// ---------------------------------------------------------------- one request

Task<> HttpSession::serve_request() {
    body_done_ = !head_.request.chunked && head_.request.content_length.value_or(0) == 0;
    if (head_.request.chunked) chunked_ = std::make_unique<ChunkedBody>(server_->limits.head_bytes);
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
    in_.consume(std::exchange(last_body_piece_, 0));
    if (!body_done_) co_await drain_body();
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

}  // namespace sandbox::net
