#include "net/http_text.hpp"

#include <charconv>
#include <chrono>
#include <ctime>

#include "base/url.hpp"

namespace sandbox::net {

namespace {

std::string_view reason_of(int status) {
    switch (status) {
        case 200:
            return "OK";
        case 201:
            return "Created";
        case 204:
            return "No Content";
        case 206:
            return "Partial Content";
        case 301:
            return "Moved Permanently";
        case 304:
            return "Not Modified";
        case 400:
            return "Bad Request";
        case 401:
            return "Unauthorized";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 406:
            return "Not Acceptable";
        case 409:
            return "Conflict";
        case 412:
            return "Precondition Failed";
        case 413:
            return "Content Too Large";
        case 415:
            return "Unsupported Media Type";
        case 416:
            return "Range Not Satisfiable";
        case 417:
            return "Expectation Failed";
        case 429:
            return "Too Many Requests";
        case 431:
            return "Request Header Fields Too Large";
        case 499:
            return "Client Closed Request";
        case 500:
            return "Internal Server Error";
        case 501:
            return "Not Implemented";
        case 503:
            return "Service Unavailable";
        case 504:
            return "Gateway Timeout";
        case 505:
            return "HTTP Version Not Supported";
        case 507:
            return "Insufficient Storage";
        default:
            return "Unknown";
    }
}

}  // namespace

void append_status_line(std::string& out, int status) {
    out += std::to_string(status);
    out += ' ';
    out += reason_of(status);
    out += "\r\n";
}

std::string_view http_date_now() {
    static std::time_t cached_second = 0;
    static char text[32];
    static std::size_t length = 0;
    std::time_t now = std::time(nullptr);
    if (now != cached_second) {
        cached_second = now;
        std::tm parts{};
        ::gmtime_r(&now, &parts);
        length = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    }
    return {text, length};
}

std::string_view chunk_size_line(std::size_t size, char* buffer) {
    char* end = std::to_chars(buffer, buffer + 16, size, 16).ptr;
    *end++ = '\r';
    *end++ = '\n';
    return {buffer, static_cast<std::size_t>(end - buffer)};
}

std::optional<Target> split_target(std::string_view target) {
    for (std::string_view scheme : {"http://", "https://"}) {
        if (!target.starts_with(scheme)) continue;
        std::size_t slash = target.find('/', scheme.size());
        target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
        break;
    }
    if (!target.starts_with('/')) return std::nullopt;
    std::size_t question = target.find('?');
    std::string_view raw_path = target.substr(0, question);
    auto path = percent_decode(raw_path);
    if (!path) return std::nullopt;
    Target out;
    out.path = std::move(*path);
    if (question != std::string_view::npos) out.query = target.substr(question + 1);
    return out;
}

std::string percent_encode_path(std::string_view path) {
    static constexpr char kHex[] = "0123456789ABCDEF";
    std::string out;
    for (char c : path) {
        auto u = static_cast<unsigned char>(c);
        if (u <= 0x20 || u >= 0x7f || c == '%' || c == '?' || c == '#' || c == '"' || c == '<' || c == '>') {
            out += '%';
            out += kHex[u >> 4];
            out += kHex[u & 15];
        } else {
            out += c;
        }
    }
    return out;
}

}  // namespace sandbox::net
