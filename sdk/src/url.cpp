#include "url.hpp"

#include <algorithm>
#include <charconv>

#include "koyeb/sandbox/errors.hpp"

namespace koyeb::sandbox {
namespace {

bool is_plain(char c) { return c > 0x20 && c < 0x7f; }

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
    throw SandboxError("not a sandbox URL (" + std::string(why) + "): " + std::string(text));
}

}  // namespace

std::string Url::host_header() const {
    std::string result = host.find(':') == std::string::npos ? host : "[" + host + "]";
    if (port != (tls ? "443" : "80")) result += ":" + port;
    return result;
}

std::string Url::origin() const { return (tls ? "https://" : "http://") + host_header(); }

Url parse_url(std::string_view text) {
    Url url;
    std::string_view rest = text;
    const auto starts = [&rest](std::string_view scheme) {
        return rest.size() >= scheme.size() &&
               std::equal(scheme.begin(), scheme.end(), rest.begin(),
                          [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? char(b + 32) : b); });
    };
    if (starts("https://")) {
        url.tls = true;
        rest.remove_prefix(8);
    } else if (starts("http://")) {
        rest.remove_prefix(7);
    } else {
        refuse(text, "it must start with http:// or https://");
    }
    if (!std::all_of(rest.begin(), rest.end(), is_plain)) refuse(text, "blank or special character");
    if (rest.find_first_of("?#") != std::string_view::npos) refuse(text, "query or fragment");
    const std::size_t slash = rest.find('/');
    std::string_view authority = rest.substr(0, slash);
    if (slash != std::string_view::npos) url.prefix = rest.substr(slash);
    while (!url.prefix.empty() && url.prefix.back() == '/') url.prefix.pop_back();
    if (authority.find('@') != std::string_view::npos) refuse(text, "user information");
    std::string_view port;
    if (authority.starts_with('[')) {
        const std::size_t close = authority.find(']');
        if (close == std::string_view::npos) refuse(text, "open bracket");
        url.host = authority.substr(1, close - 1);
        port = authority.substr(close + 1);
        if (!port.empty() && !port.starts_with(':')) refuse(text, "text behind the bracket");
        if (!port.empty()) port.remove_prefix(1);
    } else {
        const std::size_t colon = authority.find(':');
        url.host = authority.substr(0, colon);
        if (colon != std::string_view::npos) port = authority.substr(colon + 1);
    }
    if (url.host.empty()) refuse(text, "no host");
    if (port.empty()) {
        url.port = url.tls ? "443" : "80";
    } else {
        unsigned number = 0;
        const auto [end, ec] = std::from_chars(port.data(), port.data() + port.size(), number);
        if (ec != std::errc() || end != port.data() + port.size() || number < 1 || number > 65535)
            refuse(text, "bad port");
        url.port = std::to_string(number);
    }
    return url;
}

std::string percent_encode(std::string_view text) {
    static constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string result;
    for (const char c : text) {
        const bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                                c == '-' || c == '.' || c == '_' || c == '~';
        if (unreserved) {
            result += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            result += {'%', kHex[byte >> 4U], kHex[byte & 15U]};
        }
    }
    return result;
}

}  // namespace koyeb::sandbox
