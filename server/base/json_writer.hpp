#pragma once
// Writes JSON straight into a string, members in the order they are written. It keeps no tree and checks no
// nesting: the caller writes well-formed sequences (a key before each value of an object, every begin with
// its end).
//
//     JsonWriter json(out, JsonCharset::utf8);
//     json.begin_object().member("code", 1).member("stdout", text).end_object();

#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/json_escape.hpp"

namespace sandbox {

template <class T>
concept JsonInteger = std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char>;

// Appends to `out`, which must outlive the writer; other text may be appended to it between two calls. Values
// given must not point into `out`. A value type without resources; one thread at a time.
class JsonWriter {
  public:
    explicit JsonWriter(std::string& out, JsonCharset charset = JsonCharset::utf8)
        : out_(out), charset_(charset) {}

    JsonWriter& begin_object() { return open('{'); }
    JsonWriter& end_object() { return close('}'); }
    JsonWriter& begin_array() { return open('['); }
    JsonWriter& end_array() { return close(']'); }

    JsonWriter& key(std::string_view name) {
        separate();
        append_json_string(out_, name, charset_);
        out_.push_back(':');
        comma_ = false;
        return *this;
    }

    JsonWriter& value(std::string_view text) {
        separate();
        append_json_string(out_, text, charset_);
        return *this;
    }
    JsonWriter& value(const char* text) { return value(std::string_view(text)); }
    JsonWriter& value(const std::string& text) { return value(std::string_view(text)); }
    JsonWriter& value(std::same_as<bool> auto flag) { return raw(flag ? "true" : "false"); }
    JsonWriter& value(JsonInteger auto number) { return write_number(number); }
    JsonWriter& value(char) = delete;  // a number or a text?
    // The shortest text that reads back as the same number; null for NaN and the infinities, which JSON
    // lacks.
    JsonWriter& value(double number) { return std::isfinite(number) ? write_number(number) : null(); }
    JsonWriter& null() { return raw("null"); }

    // `json` must be one well-formed JSON value, or the beginning of one that the caller appends to `out`
    // itself.
    JsonWriter& raw(std::string_view json) {
        separate();
        out_.append(json);
        return *this;
    }

    template <class T>
    JsonWriter& member(std::string_view name, const T& content) {
        return key(name).value(content);
    }

  private:
    void separate() {
        if (comma_) out_.push_back(',');
        comma_ = true;
    }
    JsonWriter& open(char bracket) {
        separate();
        out_.push_back(bracket);
        comma_ = false;
        return *this;
    }
    JsonWriter& close(char bracket) {
        out_.push_back(bracket);
        comma_ = true;
        return *this;
    }
    template <class N>
    JsonWriter& write_number(N number) {
        separate();
        char text[32];
        const auto [stop, error] = std::to_chars(text, text + sizeof text, number);
        out_.append(text, static_cast<std::size_t>(stop - text));
        return *this;
    }

    std::string& out_;
    JsonCharset charset_;
    bool comma_ = false;  // a value stands before this place in the same array or object
};

}  // namespace sandbox
