#include "e2b/rpc.hpp"

#include <algorithm>

#include "base/number.hpp"
#include "base/secret.hpp"
#include "e2b/envelope.hpp"
#include "e2b/user_paths.hpp"

namespace sandbox::e2b {
namespace {

constexpr const char* kStreamType = "application/connect+json";
constexpr std::chrono::hours kLongestSilence{24};  // no clock counts the ten digits that a client may send

// Whole numbers of at most ten digits, as the protocol has them.
std::optional<std::uint64_t> header_number(const net::Request& request, std::string_view name) {
    const std::string* text = request.header(name);
    if (text == nullptr || text->empty() || text->size() > 10) return std::nullopt;
    return parse_number<std::uint64_t>(*text);
}

// The whole body; resource_exhausted past kMaxMessage.
Task<Reply<std::string>> read_whole_body(net::Exchange& exchange) {
    std::string body;
    for (;;) {
        Result<std::string_view> piece = co_await exchange.read_body();
        if (!piece) co_return to_connect_error(piece.error());
        if (piece->empty()) break;
        body += *piece;
        if (body.size() > kMaxMessage + kEnvelopeHead) {
            co_return ConnectError{Code::resource_exhausted, "message is larger than 64 MiB"};
        }
    }
    co_return body;
}

Task<Reply<std::unique_ptr<StreamRequest>>> parse_stream_request(net::Exchange& exchange, Context& context) {
    const net::Request& request = exchange.request();
    if (auto wrong = co_await check_call(request, context)) co_return *wrong;
    Reply<std::string> body = co_await read_whole_body(exchange);
    if (!body) co_return body.error();
    EnvelopeReader reader(kMaxMessage);
    reader.feed(*body);
    Result<std::optional<Envelope>> envelope = reader.next();
    if (!envelope) co_return to_connect_error(envelope.error());
    if (!*envelope || !reader.at_boundary()) {
        co_return ConnectError{Code::invalid_argument, "protocol error: want exactly one enveloped message"};
    }
    if ((*envelope)->flags != kMessageFlags) {
        co_return ConnectError{Code::invalid_argument, "protocol error: unsupported envelope flags"};
    }
    Reply<std::unique_ptr<Message>> message = Message::parse((*envelope)->payload);
    if (!message) co_return message.error();
    auto parsed = std::make_unique<StreamRequest>();
    parsed->message = std::move(*message);
    if (auto timeout = header_number(request, "connect-timeout-ms")) {
        parsed->timeout = std::chrono::milliseconds(*timeout);
    }
    if (auto seconds = header_number(request, "keepalive-ping-interval"); seconds && *seconds > 0) {
        parsed->keepalive =
            std::min<std::chrono::milliseconds>(std::chrono::seconds(*seconds), kLongestSilence);
    }
    co_return parsed;
}

Task<Reply<std::string>> run_unary(net::Exchange& exchange, Context& context, UnaryHandler handler) {
    if (auto wrong = co_await check_call(exchange.request(), context)) co_return *wrong;
    Reply<std::unique_ptr<Message>> message = co_await read_message(exchange);
    if (!message) co_return message.error();
    UnaryCall call{context, exchange.request(), std::move(*message)};
    co_return co_await handler(call);
}

std::optional<ConnectError> check_protocol(const net::Request& request) {
    const std::string* version = request.header("connect-protocol-version");
    if (version != nullptr && *version != "1") {
        return ConnectError{Code::invalid_argument,
                            "connect-protocol-version must be \"1\": got \"" + *version + "\""};
    }
    for (const char* name : {"content-encoding", "connect-content-encoding"}) {
        const std::string* encoding = request.header(name);
        if (encoding != nullptr && !encoding->empty() && *encoding != "identity") {
            return ConnectError{Code::unimplemented, "unknown compression \"" + *encoding + "\""};
        }
    }
    return std::nullopt;
}

}  // namespace

Task<Reply<std::unique_ptr<Message>>> read_message(net::Exchange& exchange) {
    Reply<std::string> text = co_await read_whole_body(exchange);
    if (!text) co_return text.error();
    Reply<std::unique_ptr<Message>> message = Message::parse(*text);
    wipe(*text);
    co_return message;
}

Task<std::optional<ConnectError>> check_call(const net::Request& request, Context& context) {
    if (auto wrong = check_protocol(request)) co_return wrong;
    Caller caller = rpc_caller(request, context.settings);
    if (!caller.name) co_return std::nullopt;
    auto job = [&caller] { return find_account(caller).has_value(); };
    if (co_await context.file_pool.run(job)) co_return std::nullopt;
    co_return unknown_user(caller);
}

Task<bool> check_content_type(net::Exchange& exchange, std::string_view wanted) {
    const std::string* type = exchange.request().header("content-type");
    std::string_view bare = type == nullptr ? std::string_view() : std::string_view(*type);
    bare = bare.substr(0, bare.find(';'));
    while (bare.ends_with(' ')) bare.remove_suffix(1);
    if (bare == wanted) co_return true;
    net::HeaderList headers(1, net::Header{"Accept-Post", wanted});
    co_await exchange.respond(415, "", std::string(), std::move(headers));
    co_return false;
}

Task<> serve_unary(net::Exchange& exchange, Context& context, UnaryHandler handler) {
    if (!co_await check_content_type(exchange, "application/json")) co_return;
    Reply<std::string> reply = co_await run_unary(exchange, context, handler);
    if (reply) {
        net::HeaderList headers;
        if (is_legacy_client(exchange.request())) headers.push_back({"X-E2B-Legacy-SDK", "true"});
        co_await exchange.respond(200, "application/json", std::move(*reply), std::move(headers));
    } else {
        co_await exchange.respond(http_status(reply.error().code), "application/json",
                                  error_json(reply.error()));
    }
}

Task<std::unique_ptr<StreamRequest>> read_stream_request(net::Exchange& exchange, Context& context) {
    if (!co_await check_content_type(exchange, kStreamType)) co_return nullptr;
    auto parsed = co_await parse_stream_request(exchange, context);
    if (parsed) co_return std::move(*parsed);
    std::optional<ConnectError> error = parsed.error();
    co_await end_stream(exchange, std::move(error));
    co_return nullptr;
}

Task<bool> begin_stream(net::Exchange& exchange) {
    net::HeaderList headers;
    headers.push_back({"Cache-Control", "no-cache"});
    headers.push_back({"X-Accel-Buffering", "no"});
    return exchange.begin(200, kStreamType, std::move(headers));
}

Task<> end_stream(net::Exchange& exchange, std::optional<ConnectError> error, std::string last) {
    if (!exchange.answered() && !co_await begin_stream(exchange)) co_return;
    std::string payload = error ? "{\"error\":" + error_json(*error) + "}" : "{}";
    append_envelope(last, kEndStreamFlag, payload);
    if (co_await exchange.write(last)) co_await exchange.finish();
}

}  // namespace sandbox::e2b
