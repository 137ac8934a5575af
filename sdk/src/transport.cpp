#include "transport.hpp"

#include <boost/asio/ssl/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <stdexcept>
#include <string>

#include "connection.hpp"
#include "koyeb/sandbox/errors.hpp"

namespace koyeb::sandbox {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

constexpr std::uint32_t kMaxHead = 64 * 1024;

SandboxServiceError no_http(const std::string& why) {
    return SandboxServiceError(0, "the sandbox's answer is no HTTP: " + why);
}

}  // namespace

struct HttpExchange::Impl {
    using Parser = http::response_parser<http::string_body>;

    std::shared_ptr<ConnectionPool> pool;
    std::unique_ptr<Connection> connection;
    std::unique_ptr<Parser> parser;
    Patience patience;
    std::vector<char> buffer = std::vector<char>(64 * 1024);

    void start_parser();
    // Parses what was received, reads more when that is not enough for progress. False at the end of the
    // stream.
    Awaitable<bool> advance();
    void parse();
    // False when the peer closed the connection before.
    Awaitable<bool> read_head();
    void release();
};

void HttpExchange::Impl::start_parser() {
    parser = std::make_unique<Parser>();
    parser->eager(true);
    parser->body_limit(boost::none);
    parser->header_limit(kMaxHead);
}

void HttpExchange::Impl::parse() {
    std::string& received = connection->received;
    std::size_t used = 0;
    while (used < received.size() && !parser->is_done()) {
        error_code ec;
        std::size_t n = 0;
        try {
            n = parser->put(asio::buffer(received.data() + used, received.size() - used), ec);
        } catch (const std::length_error& error) {  // Beast's, for a field of 64 KiB
            throw no_http(error.what());
        }
        used += n;
        if (ec == http::error::need_more) break;
        if (ec) throw no_http(ec.message());
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
    if (ec) throw_io_error(ec, "waiting for the sandbox's answer");
    connection->received.append(buffer.data(), n);
    parse();
    co_return true;
}

Awaitable<bool> HttpExchange::Impl::read_head() {
    while (!parser->is_header_done()) {
        connection->set_limit(patience);
        const auto space = asio::buffer(buffer);
        auto [ec, n] = co_await connection->read_some(space);
        if (is_end(ec)) co_return false;
        if (ec) throw_io_error(ec, "waiting for the sandbox's answer");
        connection->received.append(buffer.data(), n);
        parse();
        // "100 Continue" and its like come before the answer.
        if (parser->is_header_done() && parser->get().result_int() < 200) {
            start_parser();
            parse();
        }
    }
    co_return true;
}

void HttpExchange::Impl::release() {
    const bool reusable = connection && parser->is_done() && parser->get().keep_alive() &&
                          connection->received.empty() && connection->is_open();
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

std::string make_head(const HttpRequest& request, const Url& url) {
    std::string head = request.method + " " + url.prefix + request.target +
                       " HTTP/1.1\r\nHost: " + url.host_header() +
                       "\r\nUser-Agent: koyeb-sandbox-cpp/0.1\r\nAccept: */*\r\n";
    for (const auto& [name, value] : request.headers) {
        if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos)
            throw SandboxError("line break in the value of " + name);
        head += name + ": " + value + "\r\n";
    }
    if (request.body_source) {
        head += "Transfer-Encoding: chunked\r\n";
    } else if (request.has_body) {
        head += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
    }
    return head + "\r\n";
}

// One chunk of RFC 9112, 7.1; of nothing, the last one.
std::string make_chunk(const std::string& bytes) {
    char size[32];
    const int length = std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
    std::string chunk(size, static_cast<std::size_t>(length));
    chunk.reserve(chunk.size() + bytes.size() + 2);
    return chunk.append(bytes).append("\r\n");
}

// What stopped it. A server that refuses may answer and close before it has read everything.
Awaitable<error_code> write_request(Connection& connection, std::string head, const HttpRequest& request) {
    // Small requests leave in one packet; a large body is not copied.
    const bool joined = request.body.size() <= 16 * 1024;
    if (joined) head += request.body;
    error_code failure = co_await connection.write_all(asio::buffer(head), request.patience);
    if (!joined && !failure)
        failure = co_await connection.write_all(asio::buffer(request.body), request.patience);
    for (bool more = bool(request.body_source); more && !failure;) {
        const std::string piece = request.body_source();
        more = !piece.empty();
        const std::string chunk = make_chunk(piece);
        failure = co_await connection.write_all(asio::buffer(chunk), request.patience);
    }
    co_return failure;
}

}  // namespace

Awaitable<HttpExchange> Transport::send(HttpRequest request) {
    // Named copies: this object may go away while the request runs.
    const auto pool = pool_;
    const Url url = url_;
    const auto executor = executor_;
    const std::string head = make_head(request, url);
    for (bool fresh_only = false;;) {
        auto exchange = std::make_unique<HttpExchange::Impl>();
        exchange->pool = pool;
        exchange->patience = request.patience;
        if (!fresh_only) exchange->connection = pool->take_idle();
        const bool reused = exchange->connection != nullptr;
        if (!reused) exchange->connection = co_await pool->connect(executor, url);
        exchange->start_parser();
        const error_code write_error = co_await write_request(*exchange->connection, head, request);
        if (write_error && !is_end(write_error)) throw_io_error(write_error, "sending the request");
        if (co_await exchange->read_head()) co_return HttpExchange(std::move(exchange));
        const bool untouched = !exchange->parser->got_some() && exchange->connection->received.empty();
        if (reused && untouched && request.repeatable) {
            fresh_only = true;
            continue;
        }
        if (write_error) throw_io_error(write_error, "sending the request");
        throw SandboxServiceError(0, "the sandbox closed the connection without an answer");
    }
}

}  // namespace koyeb::sandbox
