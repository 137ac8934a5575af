// JsonObjectScanner: what is inside strings, and the way of their text to the handler.

#include <array>
#include <cstring>

#include "base/byte_scan.hpp"
#include "base/hex.hpp"
#include "base/json_escape.hpp"
#include "base/json_scan.hpp"
#include "base/utf8.hpp"

namespace sandbox {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Bytes inside a string that are not simply themselves.
constexpr std::array<bool, 256> kSpecial = [] {
    std::array<bool, 256> table{};
    for (std::size_t c = 0; c < 256; ++c) table[c] = c < 0x20 || c >= 0x80 || c == '"' || c == '\\';
    return table;
}();

struct StringRule {
    static bool special(char c) { return kSpecial[static_cast<unsigned char>(c)]; }
#if defined(__SSE2__)
    static __m128i special(__m128i x) {
        const __m128i control = _mm_cmplt_epi8(x, _mm_set1_epi8(0x20));  // signed: from 0x80 on as well
        const __m128i quote = _mm_cmpeq_epi8(x, _mm_set1_epi8('"'));
        const __m128i backslash = _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'));
        return _mm_or_si128(control, _mm_or_si128(quote, backslash));
    }
#endif
};

// What the letter after a backslash stands for, or NUL.
char short_escape(char letter) {
    switch (letter) {
        case '"':
        case '\\':
        case '/':
            return letter;
        case 'b':
            return '\b';
        case 'f':
            return '\f';
        case 'n':
            return '\n';
        case 'r':
            return '\r';
        case 't':
            return '\t';
        default:
            return '\0';
    }
}

}  // namespace

// Takes bytes of a string up to its end, an escape or the end of the input; returns where it stopped.
const char* JsonObjectScanner::string_bytes(const char* p, const char* end) {
    while (kept_size_ != 0 && p != end) {
        if (static_cast<unsigned char>(*p) < 0x80) {
            bad_bytes();
            break;
        }
        kept_[kept_size_++] = *p++;
        while (kept_size_ != 0) {
            const Utf8Step step = utf8_step(kept_, kept_ + kept_size_);
            if (step.kind == Utf8Step::Kind::need_more) break;
            text(step.kind == Utf8Step::Kind::ok ? std::string_view(kept_, step.length) : kReplacement);
            kept_size_ = static_cast<std::uint8_t>(kept_size_ - step.length);
            std::memmove(kept_, kept_ + step.length, kept_size_);
        }
    }
    if (p == end) return p;
    if (high_surrogate_ != 0 && *p != '\\') lone_surrogate();

    const char* run = p;  // [run, p) is text as it stands
    const auto put_run = [&] {
        if (p != run) text({run, static_cast<std::size_t>(p - run)});
    };
    while ((p = skip_plain<StringRule>(p, end)) != end) {
        const auto c = static_cast<unsigned char>(*p);
        if (c < 0x80) {
            put_run();
            if (c == '"') {
                end_string();
            } else if (c == '\\') {
                const std::size_t taken = whole_escape(p, end);
                if (taken != 0) {
                    run = p += taken;
                    continue;
                }
                state_ = State::escape;
            } else {
                fail("control character in a string");
                return p;
            }
            return state_ == State::failed ? p : p + 1;
        }
        const Utf8Step step = utf8_step(p, end);
        if (step.kind == Utf8Step::Kind::ok) {
            p += step.length;
            continue;
        }
        put_run();
        if (step.kind == Utf8Step::Kind::need_more) {
            kept_size_ = static_cast<std::uint8_t>(end - p);
            std::memcpy(kept_, p, kept_size_);
            return end;
        }
        text(kReplacement);
        run = ++p;
    }
    put_run();
    return p;
}

// An escape that lies in [p, end) as a whole, at once: how many bytes it took, or 0 for the way byte by byte,
// which also finds the faults.
std::size_t JsonObjectScanner::whole_escape(const char* p, const char* end) {
    std::size_t size = 2;
    if (end - p >= 2 && short_escape(p[1]) != '\0') {
        escape(p[1]);
    } else if (end - p >= 6 && p[1] == 'u') {
        const int unit =
            hex_value(p[2]) << 12 | hex_value(p[3]) << 8 | hex_value(p[4]) << 4 | hex_value(p[5]);
        if (unit < 0) return 0;
        utf16_unit(static_cast<unsigned>(unit));
        size = 6;
    } else {
        return 0;
    }
    if (p + size != end && p[size] != '\\') lone_surrogate();
    return size;
}

bool JsonObjectScanner::escape(char c) {
    if (c == 'u') {
        digits_ = 0;
        unit_ = 0;
        state_ = State::unicode;
        return true;
    }
    const char decoded = short_escape(c);
    if (decoded == '\0') return fail("invalid escape");
    lone_surrogate();
    text({&decoded, 1});
    state_ = State::string;
    return true;
}

bool JsonObjectScanner::unicode_digit(char c) {
    const int value = hex_value(c);
    if (value < 0) return fail("invalid escape");
    unit_ = unit_ << 4 | static_cast<unsigned>(value);
    if (++digits_ == 4) {
        state_ = State::string;
        utf16_unit(unit_);
    }
    return true;
}

void JsonObjectScanner::utf16_unit(unsigned unit) {
    const bool low = unit >= 0xDC00 && unit <= 0xDFFF;
    if (low && high_surrogate_ != 0) {
        character(0x10000 + ((high_surrogate_ & 0x3FF) << 10) + (unit & 0x3FF));
        high_surrogate_ = 0;
        return;
    }
    lone_surrogate();
    if (unit >= 0xD800 && unit <= 0xDBFF) {
        high_surrogate_ = unit;
    } else {
        character(low ? 0xFFFD : unit);
    }
}

void JsonObjectScanner::lone_surrogate() {
    if (high_surrogate_ == 0) return;
    high_surrogate_ = 0;
    text(kReplacement);
}

void JsonObjectScanner::character(char32_t code) {
    if (nested() || is_key_) {
        char utf8[4];
        const std::size_t length = encode_utf8(utf8, code);
        text({utf8, length});
        return;
    }
    if (sizeof staged_ - staged_size_ < 4) flush();
    staged_size_ += encode_utf8(staged_ + staged_size_, code);
}

void JsonObjectScanner::bad_bytes() {
    for (; kept_size_ != 0; --kept_size_) text(kReplacement);
}

// Decoded text of the present string, to wherever it belongs.
void JsonObjectScanner::text(std::string_view part) {
    if (part.empty()) return;
    if (key_of_outermost()) {
        key_too_long_ = key_too_long_ || part.size() > kMaxKey - key_.size();
        if (!key_too_long_) key_.append(part);
        return;
    }
    if (nested()) {
        escaped_.clear();
        JsonEscaper(JsonCharset::utf8).append(escaped_, part);  // parts never cut a character
        part = escaped_;
    }
    if (part.size() > sizeof staged_ - staged_size_) flush();
    if (part.size() > sizeof staged_) {
        nested() ? handler_.on_raw(part) : handler_.on_string(part);
        return;
    }
    std::memcpy(staged_ + staged_size_, part.data(), part.size());
    staged_size_ += part.size();
}

// Only one value is under way at a time, so its kind tells what the staged bytes are.
void JsonObjectScanner::flush() {
    if (staged_size_ == 0) return;
    const std::string_view staged(staged_, staged_size_);
    staged_size_ = 0;
    if (kind_ == ValueKind::string) {
        handler_.on_string(staged);
    } else {
        handler_.on_raw(staged);
    }
}

}  // namespace sandbox
