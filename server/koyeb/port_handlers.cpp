// Which port the forwarder serves.

#include "base/json_writer.hpp"
#include "koyeb/handlers.hpp"
#include "koyeb/request_body.hpp"

namespace sandbox::koyeb {
namespace {

Task<bool> respond_port(net::Exchange& exchange, int status, std::string_view key, std::string_view message,
                        std::optional<std::uint16_t> port, std::string_view port_key) {
    bool success = status == 200;
    std::string body;
    JsonWriter writer(body);
    writer.begin_object();
    if (!success && port) writer.member(port_key, std::to_string(*port));
    writer.member(key, message);
    if (success && port) writer.member(port_key, std::to_string(*port));
    writer.member("success", success).end_object();
    body += '\n';
    return exchange.respond(status, "application/json", std::move(body));
}

// "port" of a request: text or number; absent when missing, null or empty.
Result<std::optional<std::uint16_t>> read_port(const JsonFields& fields) {
    Result<std::string> text = text_or_number(fields, "port");
    if (!text) return text.error();
    if (text->empty()) return std::optional<std::uint16_t>();
    Result<std::uint16_t> port = parse_port(*text);
    if (!port) return port.error();
    return std::optional<std::uint16_t>(*port);
}

// A port of a type that is none is a bad request; a text or a number that is no port is told as such.
Task<bool> respond_bad_port(net::Exchange& exchange, const JsonFields& fields, const Error& error) {
    if (!text_or_number(fields, "port")) return respond_invalid(exchange, error.message);
    return net::respond_error(exchange, 400, error.message);
}

}  // namespace

Task<> handle_bind_port(net::Exchange& exchange, Context& context) {
    std::unique_ptr<Body> body = co_await read_json(exchange, context);
    if (!body) co_return;
    Result<std::optional<std::uint16_t>> port = read_port(body->fields);
    if (!port) {
        co_await respond_bad_port(exchange, body->fields, port.error());
        co_return;
    }
    if (!*port) {
        co_await net::respond_error(exchange, 400, "Port is required");
        co_return;
    }
    if (Result<> bound = context.binding.bind(**port); !bound) {
        co_await net::respond_error(exchange, 400, bound.error().message);
        co_return;
    }
    co_await respond_port(exchange, 200, "message", "Port binding configured", *port, "port");
}

Task<> handle_unbind_port(net::Exchange& exchange, Context& context) {
    // An empty body unbinds whatever is bound, and so does `{}`.
    const std::string_view none_is_large;
    std::unique_ptr<Body> body = co_await read_json(exchange, context, none_is_large, EmptyBody::no_members);
    if (!body) co_return;
    Result<std::optional<std::uint16_t>> port = read_port(body->fields);
    if (!port) {
        co_await respond_bad_port(exchange, body->fields, port.error());
        co_return;
    }
    const std::optional<std::uint16_t> expected = *port;
    if (context.binding.unbind(expected) == PortBinding::Unbind::mismatch) {
        co_await respond_port(exchange, 409, "error", "port " + std::to_string(*expected) + " is not bound",
                              context.binding.current(), "current_port");
        co_return;
    }
    co_await respond_port(exchange, 200, "message", "Port binding removed", std::nullopt, "port");
}

}  // namespace sandbox::koyeb
