#include "base/json_scan.hpp"

#include <array>
#include <cstring>

#include "base/byte_scan.hpp"
#include "base/hex.hpp"
#include "base/json_escape.hpp"
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

bool white_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
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

bool digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

bool JsonObjectScanner::feed(std::string_view bytes) {
    const char* const begin = bytes.data();
    const char* const end = begin + bytes.size();
    for (const char* p = begin; p != end && state_ != State::failed;) {
        if (state_ == State::string) {
            p = string_bytes(p, end);
        } else if (structure(*p)) {
            ++p;
        }
        if (state_ == State::failed) offset_ += static_cast<std::size_t>(p - begin);
    }
    if (state_ == State::failed) return false;
    flush();
    offset_ += bytes.size();
    return true;
}

bool JsonObjectScanner::finish() {
    if (state_ == State::failed) return false;
    return state_ == State::done || fail("unexpected end");
}

std::string JsonObjectScanner::error() const {
    return std::string(reason_) + " at byte " + std::to_string(offset_);
}

// One byte outside of a string's plain text. True when it has been taken; false when it failed.
bool JsonObjectScanner::structure(char c) {
    switch (state_) {
        case State::escape:
            return escape(c);
        case State::unicode:
            return unicode_digit(c);
        case State::literal:
            if (c != literal_.front()) return fail("unexpected character");
            if (depth_ != 0) raw(c);
            literal_.remove_prefix(1);
            return !literal_.empty() || end_scalar();
        case State::minus:
        case State::zero:
        case State::integer:
        case State::point:
        case State::fraction:
        case State::exponent:
        case State::exponent_sign:
        case State::exponent_digit:
            return number(c);
        default:
            break;
    }
    if (white_space(c)) return true;
    switch (state_) {
        case State::start:
            if (c == '{') return open(c);
            if (c == 'n') return begin_literal("null", ValueKind::null) && structure(c);
            return fail("not a JSON object");
        case State::first_key:
            if (c == '}') return close(c);
            [[fallthrough]];
        case State::key:
            return c == '"' ? begin_string(true) : fail("unexpected character");
        case State::colon:
            if (c != ':') return fail("unexpected character");
            if (nested()) raw(c);
            state_ = State::value;
            return true;
        case State::first_element:
            if (c == ']') return close(c);
            [[fallthrough]];
        case State::value:
            return begin_value(c);
        case State::after_value:
            if (c == '}' || c == ']') return close(c);
            if (c != ',') return fail("unexpected character");
            if (nested()) raw(c);
            state_ = in_array() ? State::value : State::key;
            return true;
        default:
            return fail("trailing bytes after the value");
    }
}

bool JsonObjectScanner::begin_value(char c) {
    switch (c) {
        case '{':
        case '[':
            return open(c);
        case '"':
            return begin_string(false);
        case 't':
            return begin_literal("true", ValueKind::boolean) && structure(c);
        case 'f':
            return begin_literal("false", ValueKind::boolean) && structure(c);
        case 'n':
            return begin_literal("null", ValueKind::null) && structure(c);
        default:
            break;
    }
    if (c != '-' && !digit(c)) return fail("unexpected character");
    if (!nested()) kind_ = ValueKind::number;
    raw(c);
    state_ = c == '-' ? State::minus : c == '0' ? State::zero : State::integer;
    return true;
}

// RFC 8259, section 6. A byte that ends the number belongs to what follows.
bool JsonObjectScanner::number(char c) {
    const bool exponent_mark = c == 'e' || c == 'E';
    State next = State::failed;
    bool may_end = false;
    switch (state_) {
        case State::minus:
            next = c == '0' ? State::zero : digit(c) ? State::integer : State::failed;
            break;
        case State::zero:
        case State::integer:
            may_end = true;
            if (state_ == State::integer && digit(c)) {
                next = State::integer;
            } else if (c == '.') {
                next = State::point;
            } else if (exponent_mark) {
                next = State::exponent;
            }
            break;
        case State::point:
            next = digit(c) ? State::fraction : State::failed;
            break;
        case State::fraction:
            may_end = true;
            next = digit(c) ? State::fraction : exponent_mark ? State::exponent : State::failed;
            break;
        case State::exponent:
            if (c == '+' || c == '-') {
                next = State::exponent_sign;
                break;
            }
            [[fallthrough]];
        case State::exponent_sign:
            next = digit(c) ? State::exponent_digit : State::failed;
            break;
        default:
            may_end = true;
            next = digit(c) ? State::exponent_digit : State::failed;
            break;
    }
    if (next == State::failed) return may_end ? end_scalar() && structure(c) : fail("invalid number");
    raw(c);
    state_ = next;
    return true;
}

bool JsonObjectScanner::open(char bracket) {
    if (depth_ == kMaxDepth) return fail("nested too deep");
    if (depth_ == 1) kind_ = bracket == '[' ? ValueKind::array : ValueKind::object;
    if (depth_ != 0) raw(bracket);
    arrays_[depth_] = bracket == '[';
    ++depth_;
    state_ = bracket == '[' ? State::first_element : State::first_key;
    return true;
}

bool JsonObjectScanner::close(char bracket) {
    if (in_array() != (bracket == ']')) return fail("unexpected character");
    if (nested()) raw(bracket);
    --depth_;
    state_ = depth_ == 0 ? State::done : State::after_value;
    if (depth_ == 1) {
        flush();
        handler_.on_value_end(kind_);
    }
    return true;
}

// A number, a literal or a string has ended.
bool JsonObjectScanner::end_scalar() {
    state_ = depth_ == 0 ? State::done : State::after_value;
    if (depth_ == 1) {
        flush();
        handler_.on_value_end(kind_);
    }
    return true;
}

bool JsonObjectScanner::begin_literal(std::string_view word, ValueKind kind) {
    if (!nested()) kind_ = kind;
    literal_ = word;
    state_ = State::literal;
    return true;
}

bool JsonObjectScanner::begin_string(bool is_key) {
    is_key_ = is_key;
    if (nested()) raw('"');
    if (!is_key && !nested()) kind_ = ValueKind::string;
    if (key_of_outermost()) key_.clear();
    state_ = State::string;
    return true;
}

bool JsonObjectScanner::end_string() {
    lone_surrogate();
    if (key_too_long_) return fail("key too long");
    if (nested()) raw('"');
    if (!is_key_) return end_scalar();
    state_ = State::colon;
    if (depth_ == 1) {
        flush();
        handler_.on_key(key_);
    }
    return true;
}

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

void JsonObjectScanner::raw(char c) {
    if (staged_size_ == sizeof staged_) flush();
    staged_[staged_size_++] = c;
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

bool JsonObjectScanner::fail(const char* reason) {
    state_ = State::failed;
    reason_ = reason;
    return false;
}

}  // namespace sandbox
