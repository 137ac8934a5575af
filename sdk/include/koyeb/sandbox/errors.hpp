#pragma once
/// @file
/// What can go wrong, as exceptions and as values.
///
/// The classes are those of Koyeb's Python SDK (`koyeb.sandbox.utils`, `koyeb.sandbox.exec`,
/// `koyeb.sandbox.filesystem`).

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

namespace koyeb::sandbox {

struct CommandResult;

/// Which of the error classes an error belongs to.
enum class ErrorKind : std::uint8_t {
    general,         ///< SandboxError itself: a bad argument, an answer that makes no sense
    timeout,         ///< SandboxTimeoutError
    service,         ///< SandboxServiceError
    command,         ///< SandboxCommandError
    filesystem,      ///< SandboxFilesystemError
    file_not_found,  ///< SandboxFileNotFoundError
    file_exists,     ///< SandboxFileExistsError
};

/// Base of everything this library throws on its own account. Modelled on Python's `SandboxError`.
class SandboxError : public std::runtime_error {
  public:
    /// An error of kind `general`.
    explicit SandboxError(const std::string& message) : SandboxError(ErrorKind::general, message) {}
    /// The class of this error, for code that handles errors as values.
    ErrorKind kind() const noexcept { return kind_; }

  protected:
    /// For the classes below.
    SandboxError(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}

  private:
    ErrorKind kind_;
};

/// A time limit passed: of the connection, of a request, or of a command. Modelled on Python's
/// `SandboxTimeoutError`.
class SandboxTimeoutError : public SandboxError {
  public:
    /// `partial` is what a command printed before its time was up, when that is known.
    explicit SandboxTimeoutError(const std::string& message,
                                 std::shared_ptr<const CommandResult> partial = nullptr)
        : SandboxError(ErrorKind::timeout, message), partial_(std::move(partial)) {}
    /// What the command printed until then; null when no command was involved or its output did not arrive.
    const std::shared_ptr<const CommandResult>& partial() const noexcept { return partial_; }

  private:
    std::shared_ptr<const CommandResult> partial_;
};

/// The sandbox could not be reached, or refused a request. Modelled on Python's `SandboxServiceError`.
class SandboxServiceError : public SandboxError {
  public:
    /// `status_code` is the HTTP status, or 0 when there was no answer.
    SandboxServiceError(int status_code, const std::string& message)
        : SandboxError(ErrorKind::service, message), status_code_(status_code) {}
    /// The HTTP status (400 to 599); 0 when the connection failed or the answer was no HTTP.
    int status_code() const noexcept { return status_code_; }

  private:
    int status_code_;
};

/// A command could not be run or its output not be had whole. A command that ran and exited with a code other
/// than 0 is no error: look at CommandResult::exit_code. Modelled on Python's `SandboxCommandError`.
class SandboxCommandError : public SandboxError {
  public:
    /// An error with this text.
    explicit SandboxCommandError(const std::string& message) : SandboxError(ErrorKind::command, message) {}
};

/// A file operation failed. Modelled on Python's `SandboxFilesystemError`.
class SandboxFilesystemError : public SandboxError {
  public:
    /// `message` is the daemon's text: `<operation> <path>: <reason>`.
    explicit SandboxFilesystemError(const std::string& message)
        : SandboxFilesystemError(ErrorKind::filesystem, message) {}

  protected:
    /// For the classes below.
    SandboxFilesystemError(ErrorKind kind, const std::string& message) : SandboxError(kind, message) {}
};

/// There is no such file or directory. Modelled on Python's `SandboxFileNotFoundError`.
class SandboxFileNotFoundError : public SandboxFilesystemError {
  public:
    /// An error with this text.
    explicit SandboxFileNotFoundError(const std::string& message)
        : SandboxFilesystemError(ErrorKind::file_not_found, message) {}
};

/// Something of that name exists already. Modelled on Python's `SandboxFileExistsError`.
class SandboxFileExistsError : public SandboxFilesystemError {
  public:
    /// An error with this text.
    explicit SandboxFileExistsError(const std::string& message)
        : SandboxFilesystemError(ErrorKind::file_exists, message) {}
};

/// An error as a value.
struct Error {
    ErrorKind kind = ErrorKind::general;  ///< its class
    int status_code = 0;                  ///< HTTP status of a service error, else 0
    std::string message;                  ///< what `what()` would say
    /// Output of a command whose time was up, or null.
    std::shared_ptr<const CommandResult> partial;

    /// The value of an exception.
    static Error from(const SandboxError& error);
    /// Throws the exception that this value stands for.
    [[noreturn]] void raise() const;
};

/// A value or an error. What `as_result()` makes of an awaitable.
template <class T>
class Result {
  public:
    /// Holds a value.
    Result(T value) : content_(std::in_place_index<0>, std::move(value)) {}
    /// Holds an error.
    Result(Error error) : content_(std::in_place_index<1>, std::move(error)) {}
    /// Whether there is a value.
    bool has_value() const noexcept { return content_.index() == 0; }
    /// Whether there is a value.
    explicit operator bool() const noexcept { return has_value(); }
    /// The value; throws the error's exception when there is none.
    T& value() {
        if (!has_value()) error().raise();
        return *std::get_if<0>(&content_);
    }
    /// The value; throws the error's exception when there is none.
    const T& value() const {
        if (!has_value()) error().raise();
        return *std::get_if<0>(&content_);
    }
    /// The error. There must be one.
    const Error& error() const { return std::get<1>(content_); }

  private:
    std::variant<T, Error> content_;
};

/// Result of an operation without a value.
template <>
class Result<void> : public Result<std::monostate> {
  public:
    /// Success.
    Result() : Result<std::monostate>(std::monostate{}) {}
    /// Holds an error.
    Result(Error error) : Result<std::monostate>(std::move(error)) {}
};

}  // namespace koyeb::sandbox
