#include "base/error.hpp"

#include <cctype>
#include <cerrno>
#include <cstring>

namespace sandbox {

Errc errc_of(int sys_errno) {
    switch (sys_errno) {
        case ENOENT:
        case ESRCH:
        case ENOTDIR:
            return Errc::not_found;
        case EEXIST:
            return Errc::already_exists;
        case EACCES:
        case EPERM:
        case EROFS:
            return Errc::permission_denied;
        case EINVAL:
        case EISDIR:
        case ENAMETOOLONG:
        case ELOOP:
            return Errc::invalid_argument;
        case ENOTEMPTY:
        case EBUSY:
            return Errc::failed_precondition;
        case ENOSPC:
        case EDQUOT:
        case EMFILE:
        case ENFILE:
        case ENOMEM:
        case EAGAIN:
            return Errc::resource_exhausted;
        case E2BIG:
        case EFBIG:
            return Errc::too_large;
        default:
            return Errc::internal;
    }
}

std::string errno_text(int sys_errno) {
    char buffer[128];
    std::string text = ::strerror_r(sys_errno, buffer, sizeof buffer);
    if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
    return text;
}

Error sys_error(std::string_view what, int sys_errno) {
    std::string message(what);
    message += ": ";
    message += errno_text(sys_errno);
    return Error{errc_of(sys_errno), std::move(message), sys_errno};
}

}  // namespace sandbox
