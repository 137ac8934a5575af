#include "connection.hpp"

#include <openssl/err.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>

#include "koyeb/sandbox/errors.hpp"

namespace koyeb::sandbox {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
// A server closes idle connections in its own time; one that was quiet for so long is not worth the risk.
constexpr std::chrono::seconds kMaxIdle{60};
constexpr std::size_t kMaxIdleConnections = 16;

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
    if (resolve_error) throw_io_error(resolve_error, "cannot resolve " + url.host);
    co_return results;
}

}  // namespace

void throw_io_error(const error_code& ec, const std::string& doing) {
    if (ec == asio::error::operation_aborted) throw boost::system::system_error(ec);
    if (ec == beast::error::timeout) throw SandboxTimeoutError("timed out " + doing);
    throw SandboxServiceError(0, doing + ": " + ec.message());
}

bool is_end(const error_code& ec) {
    return ec == asio::error::eof || ec == asio::ssl::error::stream_truncated ||
           ec == asio::error::connection_reset || ec == asio::error::broken_pipe;
}

Awaitable<> Connection::open(Url url, Clock::time_point limit, asio::ssl::context* tls, bool verify) {
    const auto endpoints = co_await resolve(stream_.get_executor(), url, limit);
    stream_.expires_at(limit);
    auto [ec, endpoint] = co_await stream_.async_connect(endpoints, kTuple);
    if (ec) throw_io_error(ec, "cannot connect to " + url.host_header());
    set_options(stream_.socket());
    if (tls == nullptr) co_return;
    tls_.emplace(stream_, *tls);
    set_server_name(tls_->native_handle(), url.host);
    if (verify) tls_->set_verify_callback(asio::ssl::host_name_verification(url.host));
    auto [tls_error] = co_await tls_->async_handshake(asio::ssl::stream_base::client, kTuple);
    if (tls_error) throw_io_error(tls_error, "TLS handshake with " + url.host_header());
}

void Connection::set_limit(const Patience& patience) {
    if (!patience.silence && !patience.deadline) return stream_.expires_never();
    auto limit = patience.deadline.value_or(Clock::time_point::max());
    if (patience.silence) limit = std::min(limit, Clock::now() + to_duration(*patience.silence));
    stream_.expires_at(limit);
}

Awaitable<IoResult> Connection::read_some(asio::mutable_buffer buffer) {
    if (tls_) co_return co_await tls_->async_read_some(buffer, kTuple);
    co_return co_await stream_.async_read_some(buffer, kTuple);
}

Awaitable<error_code> Connection::write_all(asio::const_buffer bytes, Patience patience) {
    error_code failure;
    while (bytes.size() > 0 && !failure) {
        set_limit(patience);
        if (tls_) {
            auto [ec, n] = co_await tls_->async_write_some(bytes, kTuple);
            bytes += n;
            failure = ec;
        } else {
            auto [ec, n] = co_await stream_.async_write_some(bytes, kTuple);
            bytes += n;
            failure = ec;
        }
    }
    co_return failure;
}

bool Connection::usable() {
    char byte = 0;
    const auto n = ::recv(stream_.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n < 0 && errno == EAGAIN;
}

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

Awaitable<std::unique_ptr<Connection>> ConnectionPool::connect(asio::any_io_executor executor, Url url) {
    const auto limit = Clock::now() + to_duration(connect_timeout);
    auto connection = std::make_unique<Connection>(executor);
    asio::ssl::context* context = nullptr;
    if (url.tls) context = &tls_context();
    co_await connection->open(url, limit, context, verify);
    co_return connection;
}

std::unique_ptr<Connection> ConnectionPool::take_idle() {
    while (!idle.empty()) {
        auto connection = std::move(idle.back());
        idle.pop_back();
        if (Clock::now() - connection->idle_since < kMaxIdle && connection->usable()) return connection;
    }
    return nullptr;
}

void ConnectionPool::keep(std::unique_ptr<Connection> connection) {
    connection->set_no_limit();
    connection->idle_since = Clock::now();
    if (idle.size() >= kMaxIdleConnections) idle.erase(idle.begin());
    idle.push_back(std::move(connection));
}

}  // namespace koyeb::sandbox
