#pragma once
// Members of JSON objects, for the codec alone.

#include <charconv>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "koyeb/sandbox/errors.hpp"
#include "koyeb/sandbox/types.hpp"

namespace koyeb::sandbox::codec {

using Json = nlohmann::json;

// Names, environment and commands can hold any bytes; JSON cannot.
inline std::string text(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

[[noreturn]] inline void unexpected(std::string_view body) {
    std::string shown(body.substr(0, 200));
    throw SandboxServiceError(0, "unexpected answer of the sandbox: " + shown);
}

inline Json parse(std::string_view body) {
    Json json = Json::parse(body, nullptr, false);
    if (!json.is_object()) unexpected(body);
    return json;
}

inline const Json* find(const Json& json, const char* name) {
    const auto it = json.find(name);
    return it == json.end() || it->is_null() ? nullptr : &*it;
}

inline std::string string_of(const Json& json, const char* name) {
    const Json* value = find(json, name);
    return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

inline bool bool_of(const Json& json, const char* name) {
    const Json* value = find(json, name);
    return value != nullptr && value->is_boolean() && value->get<bool>();
}

template <class Number>
std::optional<Number> number_of(const Json& json, const char* name) {
    const Json* value = find(json, name);
    if (value == nullptr) return std::nullopt;
    if (value->is_string()) {  // the TypeScript SDK types some numbers as strings
        const auto& digits = value->get_ref<const std::string&>();
        Number number{};
        const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
        if (ec == std::errc() && end == digits.data() + digits.size()) return number;
        return std::nullopt;
    }
    if (!value->is_number()) return std::nullopt;
    if constexpr (std::is_integral_v<Number>) {
        // One that does not fit is none: an exit code of 2^32 is no 0.
        if (value->is_number_float()) {
            const double number = value->get<double>();
            if (!(std::abs(number) < 9e15) || !std::in_range<Number>(std::int64_t(number)))
                return std::nullopt;
            return static_cast<Number>(number);
        }
        const bool fits = value->is_number_unsigned() ? std::in_range<Number>(value->get<std::uint64_t>())
                                                      : std::in_range<Number>(value->get<std::int64_t>());
        if (!fits) return std::nullopt;
    }
    return value->get<Number>();
}

// The `error` member when it is a text with something in it.
inline std::string error_of(const Json& json) { return string_of(json, "error"); }

// Bytes that travelled as base64, when they did.
std::string decoded(std::string bytes, bool base64);
// Whether the bytes in `json` did: when they were asked for so and the answer does not say otherwise.
bool is_base64(const Json& json, bool asked);
// How a command ended.
CommandEnd end_of(const Json& json);

}  // namespace koyeb::sandbox::codec
