#include "base/url.hpp"

#include <cstddef>

#include "base/hex.hpp"

namespace sandbox {
std::optional<std::string> percent_decode(std::string_view text, PlusSign plus) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%') {
            if (text.size() - i < 3) return std::nullopt;
            const int high = hex_value(text[i + 1]);
            const int low = hex_value(text[i + 2]);
            if (high < 0 || low < 0) return std::nullopt;
            out.push_back(static_cast<char>(high << 4 | low));
            i += 2;
        } else {
            out.push_back(text[i] == '+' && plus == PlusSign::space ? ' ' : text[i]);
        }
    }
    return out;
}

Query::Query(std::string_view text) {
    while (!text.empty()) {
        const std::string_view pair = text.substr(0, text.find('&'));
        text.remove_prefix(pair.size() == text.size() ? pair.size() : pair.size() + 1);
        if (pair.empty() || pair.find(';') != std::string_view::npos) continue;
        const std::size_t equals = pair.find('=');
        auto name = percent_decode(pair.substr(0, equals), PlusSign::space);
        const std::string_view rest =
            equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
        auto value = percent_decode(rest, PlusSign::space);
        if (name && value) pairs_.emplace_back(std::move(*name), std::move(*value));
    }
}

std::optional<std::string_view> Query::get(std::string_view name) const {
    for (const auto& [key, value] : pairs_) {
        if (key == name) return value;
    }
    return std::nullopt;
}

std::string clean_path(std::string_view path) {
    const bool rooted = path.starts_with('/');
    std::string out(rooted ? "/" : "");
    std::size_t fixed = out.size();  // what ".." may not take back: the root, or leading ".." elements
    while (!path.empty()) {
        const std::string_view element = path.substr(0, path.find('/'));
        path.remove_prefix(element.size() == path.size() ? element.size() : element.size() + 1);
        if (element.empty() || element == ".") continue;
        if (element == "..") {
            if (out.size() > fixed) {
                const std::size_t slash = out.rfind('/');
                out.resize(slash == std::string::npos || slash < fixed ? fixed : slash);
                continue;
            }
            if (rooted) continue;
        }
        if (!out.empty() && out.back() != '/') out.push_back('/');
        out.append(element);
        if (element == "..") fixed = out.size();
    }
    return out.empty() ? "." : out;
}

std::string clean_url_path(std::string_view path) {
    std::string rooted(path.starts_with('/') ? "" : "/");
    rooted.append(path);
    std::string out = clean_path(rooted);
    if (rooted.back() == '/' && out != "/") out.push_back('/');
    return out;
}

}  // namespace sandbox
