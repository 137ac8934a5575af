#include "platform/priority.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "base/unique_fd.hpp"

namespace sandbox {
namespace {

constexpr int kRaise = 10;
constexpr int kLowest = -20;

}  // namespace

std::optional<int> raise_own_priority(bool own_session) {
    errno = 0;
    const int original = ::getpriority(PRIO_PROCESS, 0);
    const int raised = std::max(original - kRaise, kLowest);
    if (errno != 0 || raised == original || ::setpriority(PRIO_PROCESS, 0, raised) != 0) return std::nullopt;
    if (own_session && ::getsid(0) == ::getpid()) {
        UniqueFd file(::open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC));
        const std::string text = std::to_string(-kRaise);
        if (file) (void)!::write(file.get(), text.data(), text.size());
    }
    return original;
}

}  // namespace sandbox
