// JsonObjectScanner: the structure around the strings; those are in json_scan_string.cpp.

#include "base/json_scan.hpp"

namespace sandbox {
namespace {

bool white_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

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

void JsonObjectScanner::raw(char c) {
    if (staged_size_ == sizeof staged_) flush();
    staged_[staged_size_++] = c;
}

bool JsonObjectScanner::fail(const char* reason) {
    state_ = State::failed;
    reason_ = reason;
    return false;
}

}  // namespace sandbox
