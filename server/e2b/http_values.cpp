#include "e2b/http_values.hpp"

#include <algorithm>

#include "base/number.hpp"
#include "base/url.hpp"
#include "base/utf8.hpp"

namespace sandbox::e2b {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

std::string lowered(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(), lower);
    return out;
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

bool is_token_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// A value up to the next ';', unquoted. Takes it off `text`.
std::string take_value(std::string_view& text) {
    std::string value;
    if (!text.starts_with('"')) {
        std::size_t end = std::min(text.find(';'), text.size());
        value = trimmed(text.substr(0, end));
        text.remove_prefix(end);
        return value;
    }
    std::size_t at = 1;
    for (; at < text.size() && text[at] != '"'; ++at) {
        bool escapes =
            text[at] == '\\' && at + 1 < text.size() && (text[at + 1] == '"' || text[at + 1] == '\\');
        if (escapes) ++at;
        value += text[at];
    }
    text.remove_prefix(std::min(at + 1, text.size()));
    text.remove_prefix(std::min(text.find(';'), text.size()));
    return value;
}

// charset'language'text of RFC 8187; only UTF-8 is known.
std::optional<std::string> extended_value(std::string_view text) {
    std::size_t charset = text.find('\'');
    if (charset == std::string_view::npos || !equal_ignoring_case(text.substr(0, charset), "utf-8"))
        return std::nullopt;
    std::size_t language = text.find('\'', charset + 1);
    if (language == std::string_view::npos) return std::nullopt;
    return percent_decode(text.substr(language + 1));
}

struct TypeRow {
    std::string_view extension;
    std::string_view type;
};
constexpr TypeRow kTypes[] = {
    {".css", "text/css; charset=utf-8"},
    {".csv", "text/csv; charset=utf-8"},
    {".gif", "image/gif"},
    {".gz", "application/gzip"},
    {".htm", "text/html; charset=utf-8"},
    {".html", "text/html; charset=utf-8"},
    {".jpeg", "image/jpeg"},
    {".jpg", "image/jpeg"},
    {".js", "text/javascript; charset=utf-8"},
    {".json", "application/json"},
    {".md", "text/markdown; charset=utf-8"},
    {".mjs", "text/javascript; charset=utf-8"},
    {".mp3", "audio/mpeg"},
    {".mp4", "video/mp4"},
    {".pdf", "application/pdf"},
    {".png", "image/png"},
    {".svg", "image/svg+xml"},
    {".tar", "application/x-tar"},
    {".txt", "text/plain; charset=utf-8"},
    {".wasm", "application/wasm"},
    {".webp", "image/webp"},
    {".xml", "text/xml; charset=utf-8"},
    {".zip", "application/zip"},
};

bool looks_like_text(std::string_view bytes) {
    const char* end = bytes.data() + bytes.size();
    for (const char* p = bytes.data(); p != end;) {
        Utf8Step step = utf8_step(p, end);
        if (step.kind == Utf8Step::Kind::need_more) return true;
        if (step.kind == Utf8Step::Kind::bad) return false;
        bool control =
            step.code < 0x20 && std::string_view("\t\n\r\f\x1b").find(*p) == std::string_view::npos;
        if (control) return false;
        p += step.length;
    }
    return true;
}

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](char x, char y) { return lower(x) == lower(y); });
}

const std::string* HeaderValue::parameter(std::string_view name) const {
    for (const auto& [key, text] : parameters) {
        if (key == name) return &text;
    }
    return nullptr;
}

HeaderValue parse_header_value(std::string_view text) {
    HeaderValue parsed;
    std::size_t end = std::min(text.find(';'), text.size());
    parsed.value = lowered(trimmed(text.substr(0, end)));
    text.remove_prefix(end);
    while (!text.empty()) {
        text = trimmed(text.substr(1));
        std::size_t equals = text.find('=');
        if (equals == std::string_view::npos) break;
        std::string name = lowered(trimmed(text.substr(0, equals)));
        text = trimmed(text.substr(equals + 1));
        std::string value = take_value(text);
        if (name.ends_with('*')) {
            std::optional<std::string> decoded = extended_value(value);
            if (!decoded) continue;
            name.pop_back();
            // The extended form wins over a plain one of the same name (RFC 6266 4.3).
            std::erase_if(parsed.parameters, [&](const auto& parameter) { return parameter.first == name; });
            parsed.parameters.insert(parsed.parameters.begin(), {name, std::move(*decoded)});
            continue;
        }
        parsed.parameters.emplace_back(std::move(name), std::move(value));
    }
    return parsed;
}

std::string inline_disposition(std::string_view filename) {
    std::string out = "inline; filename";
    bool token = !filename.empty() && std::all_of(filename.begin(), filename.end(), is_token_char);
    if (token) return out.append("=").append(filename);
    bool printable =
        std::all_of(filename.begin(), filename.end(), [](char c) { return c >= ' ' && c <= '~'; });
    if (printable) {
        out += "=\"";
        for (char c : filename) {
            if (c == '"' || c == '\\') out += '\\';
            out += c;
        }
        return out += '"';
    }
    out += "*=utf-8''";
    static constexpr char kHex[] = "0123456789ABCDEF";
    for (char c : filename) {
        auto byte = static_cast<unsigned char>(c);
        bool plain = is_token_char(c) && c != '*' && c != '\'' && c != '%';
        if (plain) {
            out += c;
        } else {
            out.append(1, '%').append(1, kHex[byte >> 4U]).append(1, kHex[byte & 15U]);
        }
    }
    return out;
}

std::string guess_content_type(std::string_view filename, std::string_view first_bytes) {
    std::size_t dot = filename.rfind('.');
    if (dot != std::string_view::npos) {
        std::string_view extension = filename.substr(dot);
        for (const TypeRow& row : kTypes) {
            if (equal_ignoring_case(row.extension, extension)) return std::string(row.type);
        }
    }
    return looks_like_text(first_bytes) ? "text/plain; charset=utf-8" : "application/octet-stream";
}

bool accepts_encoding(const std::string* header, std::string_view coding) {
    if (header == nullptr) return true;
    std::optional<bool> named;
    std::optional<bool> others;
    std::string_view rest = *header;
    while (!rest.empty()) {
        std::size_t end = std::min(rest.find(','), rest.size());
        HeaderValue item = parse_header_value(rest.substr(0, end));
        rest.remove_prefix(std::min(end + 1, rest.size()));
        const std::string* weight = item.parameter("q");
        bool refused =
            weight != nullptr && !weight->empty() && weight->find_first_not_of("0.") == std::string::npos;
        if (item.value == coding) named = !refused;
        if (item.value == "*") others = !refused;
    }
    if (named) return *named;
    return others.value_or(coding == "identity");
}

Coding choose_coding(const std::string* accept_encoding) {
    if (accept_encoding == nullptr) return Coding::identity;
    const bool gzip = accepts_encoding(accept_encoding, "gzip");
    if (!accepts_encoding(accept_encoding, "identity")) return gzip ? Coding::gzip : Coding::none;
    const bool alone = parse_header_value(*accept_encoding).value == "gzip" &&
                       accept_encoding->find(',') == std::string::npos;
    return gzip && alone ? Coding::gzip : Coding::identity;
}

std::pair<RangeKind, ByteRange> parse_range(std::string_view header, std::uint64_t size) {
    constexpr std::pair<RangeKind, ByteRange> kNone{RangeKind::none, {}};
    if (!header.starts_with("bytes=") || header.find(',') != std::string_view::npos) return kNone;
    std::string_view range = trimmed(header.substr(6));
    std::size_t dash = range.find('-');
    if (dash == std::string_view::npos) return kNone;
    std::optional<std::uint64_t> first = parse_number<std::uint64_t>(range.substr(0, dash));
    std::optional<std::uint64_t> last = parse_number<std::uint64_t>(range.substr(dash + 1));
    if (dash == 0) {  // the last so many bytes
        if (!last) return kNone;
        std::uint64_t length = std::min(*last, size);
        if (length == 0) return {RangeKind::unsatisfiable, {}};
        return {RangeKind::satisfiable, {size - length, length}};
    }
    bool open_end = dash + 1 == range.size();
    if (!first || (!last && !open_end) || (last && *last < *first)) return kNone;
    if (*first >= size) return {RangeKind::unsatisfiable, {}};
    std::uint64_t end = open_end ? size : std::min(size - 1, *last) + 1;
    return {RangeKind::satisfiable, {*first, end - *first}};
}

}  // namespace sandbox::e2b
