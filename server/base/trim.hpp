#pragma once

#include <cctype>
#include <string_view>

namespace sandbox {

// Without the white space at both ends: blanks, tabs and all kinds of line ends. A view of `text`.
inline std::string_view trimmed(std::string_view text) {
    auto space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
    while (!text.empty() && space(text.front())) text.remove_prefix(1);
    while (!text.empty() && space(text.back())) text.remove_suffix(1);
    return text;
}

}  // namespace sandbox
