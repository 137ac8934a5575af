#pragma once
// Errors as values. Platform and services return Result; an exception means a bug or exhausted memory.

#include <boost/system/result.hpp>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace sandbox {

enum class Errc {
    invalid_argument,     // the caller's input can never work
    not_found,            // no such file, process, binding
    already_exists,       //
    permission_denied,    // EACCES, EPERM
    failed_precondition,  // the input is fine, the present state is not (not running, not empty)
    resource_exhausted,   // disk, descriptors, memory, processes
    too_large,            // over a configured limit
    unavailable,          // the daemon is shutting down
    cancelled,            // nobody waits for the answer any more
    internal,             // everything else
};

struct Error {
    Errc code = Errc::internal;
    std::string message;  // for the reader at the other end: names the path, pid or errno text
    int sys_errno = 0;    // the errno behind it, 0 when there is none
};

template <class T = void>
using Result = boost::system::result<T, Error>;

// Called by result::value() on an error: using a value unchecked is a bug of ours.
[[noreturn]] inline void throw_exception_from_error(const Error& e, const boost::source_location&) {
    struct BadResult final : std::exception {
        explicit BadResult(std::string m) : message(std::move(m)) {}
        const char* what() const noexcept override { return message.c_str(); }
        std::string message;
    };
    throw BadResult(e.message);
}

// The class of an errno value.
Errc errc_of(int sys_errno);

// strerror(3) with its first letter in lower case ("no such file or directory"): the form that the SDKs'
// substring checks look for.
std::string errno_text(int sys_errno);

// An Error "<what>: <errno text>". `what` is "<operation> <path>" for files.
Error sys_error(std::string_view what, int sys_errno);

}  // namespace sandbox
