#include "net/exchange.hpp"

#include "base/json_writer.hpp"
#include "base/url.hpp"

namespace sandbox::net {

const std::string* Request::header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
        if (key == name) return &value;
    }
    return nullptr;
}

std::optional<std::string> Request::query(std::string_view name) const {
    Query parameters(raw_query);
    std::optional<std::string_view> value = parameters.get(name);
    return value ? std::optional<std::string>(*value) : std::nullopt;
}

Task<bool> respond_error(Exchange& exchange, int status, std::string_view message, HeaderList headers) {
    std::string body = "{\"error\":";
    append_json_string(body, message, JsonCharset::utf8);
    body += "}\n";
    return exchange.respond(status, "application/json", std::move(body), std::move(headers));
}

}  // namespace sandbox::net
