#include "koyeb/sandbox/errors.hpp"

#include "koyeb/sandbox/types.hpp"

namespace koyeb::sandbox {

Error Error::from(const SandboxError& error) {
    Error value;
    value.kind = error.kind();
    value.message = error.what();
    if (const auto* service = dynamic_cast<const SandboxServiceError*>(&error))
        value.status_code = service->status_code();
    if (const auto* timeout = dynamic_cast<const SandboxTimeoutError*>(&error))
        value.partial = timeout->partial();
    return value;
}

void Error::raise() const {
    switch (kind) {
        case ErrorKind::timeout:
            throw SandboxTimeoutError(message, partial);
        case ErrorKind::service:
            throw SandboxServiceError(status_code, message);
        case ErrorKind::command:
            throw SandboxCommandError(message);
        case ErrorKind::filesystem:
            throw SandboxFilesystemError(message);
        case ErrorKind::file_not_found:
            throw SandboxFileNotFoundError(message);
        case ErrorKind::file_exists:
            throw SandboxFileExistsError(message);
        case ErrorKind::general:
            break;
    }
    throw SandboxError(message);
}

}  // namespace koyeb::sandbox
