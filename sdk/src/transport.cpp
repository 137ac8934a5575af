#include "transport.hpp"

#include <openssl/err.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>
#include <tuple>

#include "koyeb/sandbox/errors.hpp"

namespace koyeb::sandbox {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
// A server closes idle connections in its own time; one that was quiet for so long is not worth the risk.
constexpr std::chrono::seconds kMaxIdle{60};
constexpr std::size_t kMaxIdleConnections = 16;
constexpr std::uint32_t kMaxHead = 64 * 1024;

[[noreturn]] void fail(const error_code& ec, const std::string& doing) {
    if (ec == asio::error::operation_aborted) throw boost::system::system_error(ec);
    if (ec == beast::error::timeout) throw SandboxTimeoutError("timed out " + doing);
    throw SandboxServiceError(0, doing + ": " + ec.message());
}

bool is_end(const error_code& ec) {
    return ec == asio::error::eof || ec == asio::ssl::error::stream_truncated ||
           ec == asio::error::connection_reset || ec == asio::error::broken_pipe;
}

// Notices dead peers below streams that may be silent for hours.
void set_options(tcp::socket& socket) {
    error_code ignored;
    std::ignore = socket.set_option(tcp::no_delay(true), ignored);
    std::ignore = socket.set_option(asio::socket_base::keep_alive(true), ignored);
    using IdleTime = asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPIDLE>;
    using Interval = asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPINTVL>;
    using Count = asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPCNT>;
    std::ignore = socket.set_option(IdleTime(15), ignored);
    std::ignore = socket.set_option(Interval(15), ignored);
    std::ignore = socket.set_option(Count(4), ignored);
}

// RFC 6066: a name, never an address. By function, because OpenSSL's macro for it casts as C does.
void set_server_name(SSL* ssl, std::string host) {
    error_code ec;
    asio::ip::make_address(host, ec);
    if (!ec) return;
    if (::SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, host.data()) != 1)
        throw SandboxError("bad host name: " + host);
}

}  // namespace

// Owns what all connections of a client share; lives until the last exchange has ended.
struct ConnectionPool {
    struct Connection;
    std::unique_ptr<asio::ssl::context> tls;  // made with the first https connection
    std::vector<std::unique_ptr<Connection>> idle;
    std::string ca_file;
    bool verify = true;
    Seconds connect_timeout{10};

    asio::ssl::context& tls_context();
    std::unique_ptr<Connection> take_idle();
    void keep(std::unique_ptr<Connection> connection);
};

struct ConnectionPool::Connection {
    explicit Connection(const asio::any_io_executor& executor) : stream(executor) {}
    // The socket's operations refer to this object.
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    beast::tcp_stream stream;
    std::optional<asio::ssl::stream<beast::tcp_stream&>> tls;
    std::string received;  // read, but not parsed
    Clock::time_point idle_since;

    void set_limit(const Patience& patience) {
        if (!patience.silence && !patience.deadline) return stream.expires_never();
        auto limit = patience.deadline.value_or(Clock::time_point::max());
        if (patience.silence) limit = std::min(limit, Clock::now() + to_duration(*patience.silence));
        stream.expires_at(limit);
    }

    Awaitable<std::tuple<error_code, std::size_t>> read_some(asio::mutable_buffer buffer) {
        if (tls) co_return co_await tls->async_read_some(buffer, kTuple);
        co_return co_await stream.async_read_some(buffer, kTuple);
    }
    Awaitable<std::tuple<error_code, std::size_t>> write_some(asio::const_buffer buffer) {
        if (tls) co_return co_await tls->async_write_some(buffer, kTuple);
        co_return co_await stream.async_write_some(buffer, kTuple);
    }

    // Whether the peer has not closed it, and has not sent anything unasked.
    bool usable() {
        char byte = 0;
        const auto n = ::recv(stream.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        return n < 0 && errno == EAGAIN;
    }
};

asio::ssl::context& ConnectionPool::tls_context() {
    if (tls) return *tls;
    auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_client);
    context->set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1);
    if (verify) {
        error_code ec;
        std::ignore = context->set_default_verify_paths(ec);
        ec.clear();  // an image without any is no error by itself
        if (!ca_file.empty()) std::ignore = context->load_verify_file(ca_file, ec);
        if (ec)
            throw SandboxError("cannot load the certificate authorities of " + ca_file + ": " + ec.message());
        context->set_verify_mode(asio::ssl::verify_peer);
    } else {
        context->set_verify_mode(asio::ssl::verify_none);
    }
    tls = std::move(context);
    return *tls;
}

std::unique_ptr<ConnectionPool::Connection> ConnectionPool::take_idle() {
    while (!idle.empty()) {
        auto connection = std::move(idle.back());
        idle.pop_back();
        if (Clock::now() - connection->idle_since < kMaxIdle && connection->usable()) return connection;
    }
    return nullptr;
}

void ConnectionPool::keep(std::unique_ptr<Connection> connection) {
    connection->stream.expires_never();
    connection->idle_since = Clock::now();
    if (idle.size() >= kMaxIdleConnections) idle.erase(idle.begin());
    idle.push_back(std::move(connection));
}

struct HttpExchange::Impl {
    using Parser = http::response_parser<http::string_body>;

    std::shared_ptr<ConnectionPool> pool;
    std::unique_ptr<ConnectionPool::Connection> connection;
    std::unique_ptr<Parser> parser;
    Patience patience;
    std::vector<char> buffer = std::vector<char>(64 * 1024);

    // Parses what was received, reads more when that is not enough for progress. False at the end of the
    // stream.
    Awaitable<bool> advance();
    void parse();
    Awaitable<> read_head(bool* got_bytes);
    void release();
};

void HttpExchange::Impl::parse() {
    std::string& received = connection->received;
    std::size_t used = 0;
    while (used < received.size() && !parser->is_done()) {
        error_code ec;
        const std::size_t n = parser->put(asio::buffer(received.data() + used, received.size() - used), ec);
        used += n;
        if (ec == http::error::need_more) break;
        if (ec) throw SandboxServiceError(0, "the sandbox's answer is no HTTP: " + ec.message());
        if (n == 0) break;
    }
    received.erase(0, used);
}

Awaitable<bool> HttpExchange::Impl::advance() {
    connection->set_limit(patience);
    const auto space = asio::buffer(buffer);
    auto [ec, n] = co_await connection->read_some(space);
    if (is_end(ec)) {
        error_code parse_error;
        if (parser->is_header_done() &&
            (ec == asio::error::eof || ec == asio::ssl::error::stream_truncated)) {
            parser->put_eof(parse_error);
        } else {
            parse_error = http::make_error_code(http::error::partial_message);
        }
        if (parse_error || ec == asio::ssl::error::stream_truncated)
            throw SandboxServiceError(0, "the sandbox closed the connection in the middle of an answer");
        co_return false;
    }
    if (ec) fail(ec, "waiting for the sandbox's answer");
    connection->received.append(buffer.data(), n);
    parse();
    co_return true;
}

void HttpExchange::Impl::release() {
    const bool reusable = connection && parser->is_done() && parser->get().keep_alive() &&
                          connection->received.empty() && connection->stream.socket().is_open();
    if (reusable) pool->keep(std::move(connection));
    connection.reset();
}

HttpExchange::HttpExchange(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpExchange::HttpExchange(HttpExchange&&) noexcept = default;
HttpExchange& HttpExchange::operator=(HttpExchange&&) noexcept = default;
HttpExchange::~HttpExchange() = default;

int HttpExchange::status() const { return static_cast<int>(impl_->parser->get().result_int()); }

std::string HttpExchange::header(const std::string& name) const {
    return std::string(impl_->parser->get()[name]);
}

void HttpExchange::set_patience(Patience patience) { impl_->patience = patience; }

Awaitable<std::string> HttpExchange::read_piece() {
    std::string& body = impl_->parser->get().body();
    while (body.empty() && !impl_->parser->is_done()) {
        if (!co_await impl_->advance()) break;
    }
    std::string piece = std::exchange(body, std::string());
    if (piece.empty()) impl_->release();
    co_return piece;
}

Awaitable<std::string> HttpExchange::read_all() {
    std::string all;
    for (;;) {
        std::string piece = co_await read_piece();
        if (piece.empty()) co_return all;
        if (all.empty()) {
            all = std::move(piece);
        } else {
            all += piece;
        }
    }
}

Awaitable<> HttpExchange::drain() {
    try {
        co_await read_all();
    } catch (const SandboxError&) {
        impl_->connection.reset();
    }
}

Transport::Transport(asio::any_io_executor executor, const ConnectionInfo& info)
    : executor_(std::move(executor)), url_(parse_url(info.url)), pool_(std::make_shared<ConnectionPool>()) {
    pool_->ca_file = info.ca_file;
    pool_->verify = info.verify_certificate;
    pool_->connect_timeout = info.connect_timeout;
}

Transport::~Transport() = default;

Awaitable<> Transport::pause(Seconds time) {
    const auto executor = co_await asio::this_coro::executor;
    asio::steady_timer timer(executor, to_duration(time));
    co_await timer.async_wait(asio::use_awaitable);
}

namespace {

// Ends a resolution whose time is up: a resolver has no limit of its own.
Awaitable<tcp::resolver::results_type> resolve(asio::any_io_executor executor, Url url,
                                               Clock::time_point limit) {
    const auto port = static_cast<unsigned short>(std::stoul(url.port));
    error_code ec;
    const auto numeric = asio::ip::make_address(url.host, ec);
    if (!ec) co_return tcp::resolver::results_type::create(tcp::endpoint(numeric, port), url.host, url.port);
    // RFC 6761, 6.3: needs no asking, and an image without /etc/hosts has nobody to ask.
    if (url.host == "localhost") {
        const std::array<tcp::endpoint, 2> loopback = {tcp::endpoint(asio::ip::address_v4::loopback(), port),
                                                       tcp::endpoint(asio::ip::address_v6::loopback(), port)};
        co_return tcp::resolver::results_type::create(loopback.begin(), loopback.end(), url.host, url.port);
    }
    // Shared, because the timer's handler may already be queued when this coroutine has ended.
    const auto resolver = std::make_shared<tcp::resolver>(executor);
    asio::steady_timer timer(executor, limit);
    auto timed_out = std::make_shared<bool>(false);
    timer.async_wait([resolver, timed_out](error_code wait_error) {
        if (wait_error) return;
        *timed_out = true;
        resolver->cancel();
    });
    auto [resolve_error, results] =
        co_await resolver->async_resolve(url.host, url.port, tcp::resolver::numeric_service, kTuple);
    timer.cancel();
    if (*timed_out) throw SandboxTimeoutError("timed out resolving " + url.host);
    if (resolve_error) fail(resolve_error, "cannot resolve " + url.host);
    co_return results;
}

}  // namespace

Awaitable<HttpExchange> Transport::send(HttpRequest request) {
    // Named copies: this object may go away while the request runs.
    const auto pool = pool_;
    const Url url = url_;
    const auto executor = executor_;
    std::string head = request.method + " " + url.prefix + request.target +
                       " HTTP/1.1\r\nHost: " + url.host_header() +
                       "\r\nUser-Agent: koyeb-sandbox-cpp/0.1\r\nAccept: */*\r\n";
    for (const auto& [name, value] : request.headers) {
        if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos)
            throw SandboxError("line break in the value of " + name);
        head += name + ": " + value + "\r\n";
    }
    if (request.has_body) head += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
    head += "\r\n";

    for (bool fresh_only = false;;) {
        auto exchange = std::make_unique<HttpExchange::Impl>();
        exchange->pool = pool;
        exchange->patience = request.patience;
        if (!fresh_only) exchange->connection = pool->take_idle();
        const bool reused = exchange->connection != nullptr;
        if (!reused) {
            const auto limit = Clock::now() + to_duration(pool->connect_timeout);
            exchange->connection = std::make_unique<ConnectionPool::Connection>(executor);
            auto& connection = *exchange->connection;
            const auto endpoints = co_await resolve(executor, url, limit);
            connection.stream.expires_at(limit);
            auto [ec, endpoint] = co_await connection.stream.async_connect(endpoints, kTuple);
            if (ec) fail(ec, "cannot connect to " + url.host_header());
            set_options(connection.stream.socket());
            if (url.tls) {
                connection.tls.emplace(connection.stream, pool->tls_context());
                set_server_name(connection.tls->native_handle(), url.host);
                if (pool->verify)
                    connection.tls->set_verify_callback(asio::ssl::host_name_verification(url.host));
                auto [tls_error] =
                    co_await connection.tls->async_handshake(asio::ssl::stream_base::client, kTuple);
                if (tls_error) fail(tls_error, "TLS handshake with " + url.host_header());
            }
        }

        auto& connection = *exchange->connection;
        exchange->parser = std::make_unique<HttpExchange::Impl::Parser>();
        exchange->parser->eager(true);
        exchange->parser->body_limit(boost::none);
        exchange->parser->header_limit(kMaxHead);

        // Small requests leave in one packet; a large body is not copied.
        const bool joined = request.body.size() <= 16 * 1024;
        const std::string first = joined ? head + request.body : head;
        error_code write_error;
        for (int part = 0; part < (joined ? 1 : 2) && !write_error; ++part) {
            asio::const_buffer rest = asio::buffer(part == 0 ? first : request.body);
            while (rest.size() > 0 && !write_error) {
                connection.set_limit(request.patience);
                auto [ec, n] = co_await connection.write_some(rest);
                rest += n;
                write_error = ec;
            }
        }
        // A server that refuses may answer and close before it has read everything: its words are worth more.
        if (write_error && !is_end(write_error)) fail(write_error, "sending the request");

        bool closed = false;
        while (!closed && !exchange->parser->is_header_done()) {
            connection.set_limit(request.patience);
            const auto space = asio::buffer(exchange->buffer);
            auto [ec, n] = co_await connection.read_some(space);
            if (is_end(ec)) {
                closed = true;
            } else if (ec) {
                fail(ec, "waiting for the sandbox's answer");
            } else {
                connection.received.append(exchange->buffer.data(), n);
                exchange->parse();
                // "100 Continue" and its like come before the answer.
                if (exchange->parser->is_header_done() && exchange->parser->get().result_int() < 200) {
                    exchange->parser = std::make_unique<HttpExchange::Impl::Parser>();
                    exchange->parser->eager(true);
                    exchange->parser->body_limit(boost::none);
                    exchange->parser->header_limit(kMaxHead);
                    exchange->parse();
                }
            }
        }
        if (!closed) co_return HttpExchange(std::move(exchange));
        const bool untouched = !exchange->parser->got_some() && connection.received.empty();
        if (reused && untouched && request.repeatable) {
            fresh_only = true;
            continue;
        }
        if (write_error) fail(write_error, "sending the request");
        throw SandboxServiceError(0, "the sandbox closed the connection without an answer");
    }
}

}  // namespace koyeb::sandbox
