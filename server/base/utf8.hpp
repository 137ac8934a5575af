#pragma once
// One step of UTF-8 (RFC 3629), with the rule for bad bytes that Go's encoding/json has: a byte that begins
// no valid sequence is one error on its own, so "\xF1\x80\x80A" is three errors and an A, and an encoded
// surrogate is three.

#include <cstddef>
#include <cstdint>
#include <string>

namespace sandbox {

struct Utf8Step {
    enum class Kind : std::uint8_t {
        ok,         // [p, p + length) is the character `code`
        bad,        // the byte at p is an error; length is 1
        need_more,  // [p, end) is the beginning of a valid sequence
    };
    Kind kind;
    std::uint8_t length;
    char32_t code;
};

// The character at p. Precondition: p != end. Reads nothing outside [p, end), at most 4 bytes.
inline Utf8Step utf8_step(const char* p, const char* end) {
    using Kind = Utf8Step::Kind;
    const auto byte = [p](std::size_t i) { return static_cast<unsigned char>(p[i]); };
    const std::size_t available = static_cast<std::size_t>(end - p);
    const unsigned char lead = byte(0);
    if (lead < 0x80) return {Kind::ok, 1, lead};
    if (lead < 0xC2 || lead > 0xF4) return {Kind::bad, 1, 0};
    const std::uint8_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (available < 2) return {Kind::need_more, length, 0};
    // The second byte's range shuts out overlong forms, surrogates and what lies past U+10FFFF (RFC 3629,
    // section 4).
    const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (byte(1) < low || byte(1) > high) return {Kind::bad, 1, 0};
    const unsigned lead_bits = length == 2 ? lead & 0x1Fu : length == 3 ? lead & 0x0Fu : lead & 0x07u;
    char32_t code = lead_bits << 6 | (byte(1) & 0x3Fu);
    for (std::size_t i = 2; i < length; ++i) {
        if (i == available) return {Kind::need_more, length, 0};
        if ((byte(i) & 0xC0u) != 0x80u) return {Kind::bad, 1, 0};
        code = code << 6 | (byte(i) & 0x3Fu);
    }
    return {Kind::ok, length, code};
}

// Appends a character. Precondition: a Unicode scalar value.
inline void append_utf8(std::string& out, char32_t code) {
    const auto put = [&out](char32_t bits) { out.push_back(static_cast<char>(bits)); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0 | code >> 6);
        put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        put(0xE0 | code >> 12);
        put(0x80 | (code >> 6 & 0x3F));
        put(0x80 | (code & 0x3F));
    } else {
        put(0xF0 | code >> 18);
        put(0x80 | (code >> 12 & 0x3F));
        put(0x80 | (code >> 6 & 0x3F));
        put(0x80 | (code & 0x3F));
    }
}

}  // namespace sandbox
