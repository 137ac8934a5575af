#pragma once
// Errors of the Connect protocol: a code, a text, and the HTTP status that unary answers carry.

#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace sandbox::e2b {

enum class Code {
    canceled,
    unknown,
    invalid_argument,
    deadline_exceeded,
    not_found,
    already_exists,
    permission_denied,
    resource_exhausted,
    failed_precondition,
    unimplemented,
    internal,
    unavailable,
    unauthenticated,
};

std::string_view code_name(Code code);
int http_status(Code code);

struct ConnectError {
    Code code = Code::unknown;
    std::string message;
};

template <class T = void>
using Reply = boost::system::result<T, ConnectError>;

// The error of the first of these that has one.
template <class... T>
std::optional<ConnectError> first_error(const Reply<T>&... replies) {
    std::optional<ConnectError> error;
    auto look_at = [&error](const auto& reply) {
        if (!error && !reply) error = reply.error();
    };
    (look_at(replies), ...);
    return error;
}

// For the case in which the caller knows nothing better.
ConnectError to_connect_error(const Error& error);

// {"code":"not_found","message":"…"}
std::string error_json(const ConnectError& error);

[[noreturn]] void throw_exception_from_error(const ConnectError& error, const boost::source_location& where);

}  // namespace sandbox::e2b
