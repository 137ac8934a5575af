#include "text.hpp"

#include <array>
#include <cstdint>

namespace koyeb::sandbox {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::int8_t, 256> make_values() {
    std::array<std::int8_t, 256> values{};
    values.fill(-1);
    for (std::size_t i = 0; i < kAlphabet.size(); ++i)
        values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
    return values;
}
constexpr auto kValues = make_values();

std::uint32_t byte_at(std::string_view bytes, std::size_t i) { return static_cast<unsigned char>(bytes[i]); }

}  // namespace

std::string base64_encode(std::string_view bytes) {
    std::string result;
    result.reserve((bytes.size() + 2) / 3 * 4);
    std::size_t i = 0;
    for (; i + 3 <= bytes.size(); i += 3) {
        const std::uint32_t v =
            byte_at(bytes, i) << 16U | byte_at(bytes, i + 1) << 8U | byte_at(bytes, i + 2);
        const std::array<char, 4> out = {kAlphabet[v >> 18U], kAlphabet[v >> 12U & 63U],
                                         kAlphabet[v >> 6U & 63U], kAlphabet[v & 63U]};
        result.append(out.data(), 4);
    }
    if (const std::size_t left = bytes.size() - i; left > 0) {
        const std::uint32_t v = byte_at(bytes, i) << 16U | (left == 2 ? byte_at(bytes, i + 1) << 8U : 0U);
        result += kAlphabet[v >> 18U];
        result += kAlphabet[v >> 12U & 63U];
        result += left == 2 ? kAlphabet[v >> 6U & 63U] : '=';
        result += '=';
    }
    return result;
}

std::optional<std::string> base64_decode(std::string_view text) {
    if (text.size() % 4 != 0) return std::nullopt;
    std::size_t padding = 0;
    while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
    const std::size_t digits = text.size() - padding;
    std::string result;
    result.reserve(text.size() / 4 * 3);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const int value = i < digits ? kValues[static_cast<unsigned char>(text[i])] : 0;
        if (value < 0) return std::nullopt;
        bits = bits << 6U | static_cast<std::uint32_t>(value);
        if (i % 4 == 3) {
            result += static_cast<char>(bits >> 16U & 255U);
            result += static_cast<char>(bits >> 8U & 255U);
            result += static_cast<char>(bits & 255U);
        }
    }
    result.resize(result.size() - padding);
    return result;
}

bool is_utf8(std::string_view bytes) {
    std::size_t i = 0;
    const auto continuation = [&bytes](std::size_t at, unsigned low, unsigned high) {
        return at < bytes.size() && byte_at(bytes, at) >= low && byte_at(bytes, at) <= high;
    };
    while (i < bytes.size()) {
        const std::uint32_t first = byte_at(bytes, i);
        if (first < 0x80) {
            ++i;
            continue;
        }
        std::size_t length = 0;
        unsigned low = 0x80;
        unsigned high = 0xBF;
        if (first >= 0xC2 && first <= 0xDF) {
            length = 2;
        } else if (first >= 0xE0 && first <= 0xEF) {
            length = 3;
            if (first == 0xE0) low = 0xA0;
            if (first == 0xED) high = 0x9F;
        } else if (first >= 0xF0 && first <= 0xF4) {
            length = 4;
            if (first == 0xF0) low = 0x90;
            if (first == 0xF4) high = 0x8F;
        } else {
            return false;
        }
        if (!continuation(i + 1, low, high)) return false;
        for (std::size_t k = 2; k < length; ++k)
            if (!continuation(i + k, 0x80, 0xBF)) return false;
        i += length;
    }
    return true;
}

}  // namespace koyeb::sandbox
