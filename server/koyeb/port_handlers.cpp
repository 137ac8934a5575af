// Which port the forwarder serves.

#include "base/json_writer.hpp"
#include "koyeb/handlers.hpp"
#include "koyeb/request_body.hpp"

namespace sandbox::koyeb {
namespace {

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

Task<bool> respond_not_bound(net::Exchange& exchange, std::uint16_t port,
                             std::optional<std::uint16_t> current) {
    std::string body;
    JsonWriter writer(body);
    writer.begin_object();
    if (current) writer.member("current_port", std::to_string(*current));
    writer.member("error", "port " + std::to_string(port) + " is not bound").member("success", false);
    writer.end_object();
    return respond_json(exchange, 409, std::move(body));
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
    std::string answer;
    JsonWriter writer(answer);
    writer.begin_object().member("message", "Port binding configured").member("port", std::to_string(**port));
    writer.member("success", true).end_object();
    co_await respond_json(exchange, 200, std::move(answer));
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
        co_await respond_not_bound(exchange, *expected, context.binding.current());
        co_return;
    }
    co_await respond_json(exchange, 200, "{\"message\":\"Port binding removed\",\"success\":true}");
}

}  // namespace sandbox::koyeb
