#include "koyeb/answers.hpp"

#include <utility>

#include "base/json_writer.hpp"

namespace sandbox::koyeb {

Task<bool> respond_json(net::Exchange& exchange, int status, std::string json) {
    json += '\n';
    return exchange.respond(status, "application/json", std::move(json));
}

Task<bool> respond_success(net::Exchange& exchange) {
    return respond_json(exchange, 200, "{\"success\":true}");
}

Task<bool> respond_success(net::Exchange& exchange, std::string_view message) {
    std::string json;
    JsonWriter(json).begin_object().member("success", true).member("message", message).end_object();
    return respond_json(exchange, 200, std::move(json));
}

Task<bool> respond_file_error(net::Exchange& exchange, std::string_view message) {
    std::string json;
    JsonWriter(json).begin_object().member("error", message).member("success", false).end_object();
    return respond_json(exchange, 200, std::move(json));
}

Task<bool> respond_process_error(net::Exchange& exchange, int status, std::string_view message) {
    std::string json;
    JsonWriter(json).begin_object().member("success", false).member("error", message).end_object();
    return respond_json(exchange, status, std::move(json));
}

Task<bool> respond_invalid(net::Exchange& exchange, std::string_view detail) {
    std::string json;
    JsonWriter(json).begin_object().member("error", "Invalid request").member("detail", detail).end_object();
    return respond_json(exchange, 400, std::move(json));
}

Task<bool> respond_body_error(net::Exchange& exchange, const Error& error) {
    switch (error.code) {
        case Errc::too_large:
            return net::respond_error(exchange, 413, "Request body too large");
        case Errc::resource_exhausted:
            return net::respond_error(exchange, 507, error.message);
        default:
            return respond_invalid(exchange, error.message);
    }
}

}  // namespace sandbox::koyeb
