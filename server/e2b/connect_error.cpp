#include "e2b/connect_error.hpp"

#include "base/json_writer.hpp"

namespace sandbox::e2b {
namespace {

struct CodeRow {
    std::string_view name;
    int status;
};

// In the order of the enumeration. https://connectrpc.com/docs/protocol#error-codes
constexpr CodeRow kCodes[] = {
    {"canceled", 499},
    {"unknown", 500},
    {"invalid_argument", 400},
    {"deadline_exceeded", 504},
    {"not_found", 404},
    {"already_exists", 409},
    {"permission_denied", 403},
    {"resource_exhausted", 429},
    {"failed_precondition", 400},
    {"unimplemented", 501},
    {"internal", 500},
    {"unavailable", 503},
    {"unauthenticated", 401},
};

}  // namespace

std::string_view code_name(Code code) { return kCodes[static_cast<std::size_t>(code)].name; }
int http_status(Code code) { return kCodes[static_cast<std::size_t>(code)].status; }

ConnectError to_connect_error(const Error& error) {
    Code code = Code::internal;
    switch (error.code) {
        case Errc::invalid_argument:
            code = Code::invalid_argument;
            break;
        case Errc::not_found:
            code = Code::not_found;
            break;
        case Errc::already_exists:
            code = Code::already_exists;
            break;
        case Errc::permission_denied:
            code = Code::permission_denied;
            break;
        case Errc::failed_precondition:
            code = Code::failed_precondition;
            break;
        case Errc::resource_exhausted:
        case Errc::too_large:
            code = Code::resource_exhausted;
            break;
        case Errc::unavailable:
            code = Code::unavailable;
            break;
        case Errc::cancelled:
            code = Code::canceled;
            break;
        default:
            break;
    }
    return ConnectError{code, error.message};
}

std::string error_json(const ConnectError& error) {
    std::string body;
    JsonWriter(body)
        .begin_object()
        .member("code", code_name(error.code))
        .member("message", error.message)
        .end_object();
    return body;
}

void throw_exception_from_error(const ConnectError& error, const boost::source_location& where) {
    Error plain{Errc::internal, error.message, 0};
    throw_exception_from_error(plain, where);
}

}  // namespace sandbox::e2b
