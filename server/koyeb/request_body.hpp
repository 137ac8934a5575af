#pragma once
// JSON request bodies: read, checked, and answered with 400 when they are bad.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/json_fields.hpp"
#include "koyeb/answers.hpp"
#include "koyeb/context.hpp"

namespace sandbox::koyeb {

// A body's members. The value of one key can be of any size: it goes to `large` instead of memory.
struct Body {
    JsonFields fields;
    std::unique_ptr<Spool> large;  // content of the diverted key; null when no key is diverted
    bool has_large = false;        // the key was there, as a string
};

enum class EmptyBody : std::uint8_t { refused, no_members };

// Reads a whole JSON object from the request. `large_key` names the member that may be huge (empty: none).
// `empty` says what a body without a byte is. When the body cannot be used the error answer has been sent and
// nothing is returned.
Task<std::unique_ptr<Body>> read_json(net::Exchange& exchange, Context& context,
                                      std::string_view large_key = {}, EmptyBody empty = EmptyBody::refused);

// An absent member as `fallback`.
template <class T>
Result<T> value_or(Result<std::optional<T>> member, T fallback = {}) {
    if (!member) return member.error();
    return *member ? std::move(**member) : std::move(fallback);
}

// For reading several members in a row: the value, or an empty one and the error. Of several errors the first
// one stays in `first`.
template <class T>
T take(Result<T> member, std::optional<Error>& first) {
    if (member) return std::move(*member);
    if (!first) first = member.error();
    return {};
}

// The text of a member that may be sent as a string or as a number; "" when absent.
Result<std::string> text_or_number(const JsonFields& fields, std::string_view key);

// True for "base64"; false for "utf-8", "utf8", "" or absent.
Result<bool> wants_base64(const JsonFields& fields, std::string_view key);

// Takes the content of the diverted member out of `body`: its text or, with `base64`, the bytes of that.
// Errors, which begin with `member`: invalid_argument, and those of a Spool, such as resource_exhausted. Both
// are for respond_body_error().
Task<Result<std::unique_ptr<Spool>>> take_large(Context& context, Body& body, std::string_view member,
                                                bool base64);

}  // namespace sandbox::koyeb
