#pragma once
// Numbers from text.

#include <charconv>
#include <concepts>
#include <optional>
#include <string_view>
#include <system_error>

namespace sandbox {

// The number that the whole text is, in the form of std::from_chars: no white space, no '+'. Nothing when it
// is none, or one that T cannot hold. `base` is for whole numbers; a double may have an exponent, or be "inf"
// or "nan".
template <class T>
requires std::integral<T> || std::floating_point<T> std::optional<T> parse_number(std::string_view text,
                                                                                  int base = 10) {
    T value{};
    const char* const begin = text.data();
    const char* const end = begin + text.size();
    std::from_chars_result read{};
    if constexpr (std::integral<T>) {
        read = std::from_chars(begin, end, value, base);
    } else {
        read = std::from_chars(begin, end, value);
    }
    if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
    return value;
}

}  // namespace sandbox
