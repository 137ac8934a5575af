#pragma once
// One step of UTF-8 (RFC 3629), with the rule for bad bytes that Go's encoding/json has: a byte that begins
// no valid sequence is one error on its own, so "\xF1\x80\x80A" is three errors and an A, and an encoded
// surrogate is three.

#include <cstddef>
#include <cstdint>

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

// Writes a character, 1 to 4 bytes, and returns how many. Precondition: a Unicode scalar value.
inline std::size_t encode_utf8(char* out, char32_t code) {
    const std::size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    constexpr unsigned kLead[] = {0, 0x00, 0xC0, 0xE0, 0xF0};
    for (std::size_t i = length - 1; i != 0; --i, code >>= 6)
        out[i] = static_cast<char>(0x80 | (code & 0x3F));
    out[0] = static_cast<char>(kLead[length] | code);
    return length;
}

}  // namespace sandbox
