#include "platform/descriptor_reserve.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sandbox {
namespace {

constexpr int kLowest = 4;

UniqueFd open_root() {
    UniqueFd fd(::open("/", O_PATH | O_CLOEXEC));
    // Made before main: a standard descriptor that was closed at our start is not ours to take.
    if (fd && fd.get() < kLowest) fd = UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, kLowest));
    return fd;
}

bool none_left(int error) { return error == EMFILE || error == ENFILE; }

DescriptorReserve g_reserve;

}  // namespace

DescriptorReserve& descriptor_reserve() { return g_reserve; }

DescriptorReserve::DescriptorReserve() {
    held_.reserve(kSize);
    fill();
}

void DescriptorReserve::fill() {
    while (own_ < kSize) {
        UniqueFd fd = open_root();
        if (!fd) return;
        if (own_ < held_.size()) {
            held_[own_] = std::move(fd);
        } else {
            held_.push_back(std::move(fd));
        }
        ++own_;
    }
}

UniqueFd DescriptorReserve::open(const char* path, int flags) {
    std::lock_guard lock(mutex_);  // Else another scan might take the number that is freed for this one.
    UniqueFd fd(::open(path, flags | O_CLOEXEC));
    int error = errno;
    while (!fd && none_left(error) && !held_.empty()) {
        held_.pop_back();
        own_ = std::min(own_, held_.size());
        fd = UniqueFd(::open(path, flags | O_CLOEXEC));
        error = errno;
    }
    // Also after a failure: the number that was freed for a file that is not there must come back.
    if (fd || !none_left(error)) fill();
    errno = error;
    return fd;
}

void DescriptorReserve::put_back(UniqueFd fd) {
    std::lock_guard lock(mutex_);
    if (fd.get() >= kLowest && held_.size() < kSize) {
        held_.push_back(std::move(fd));
    } else {
        fd.reset();  // fill() may want its number.
    }
    fill();
}

int read_whole(const std::string& path, std::string& text) {
    text.clear();
    UniqueFd fd = descriptor_reserve().open(path.c_str(), O_RDONLY);
    if (!fd) return errno;
    char buffer[8192];
    ssize_t count = 0;
    while ((count = ::read(fd.get(), buffer, sizeof buffer)) > 0)
        text.append(buffer, static_cast<std::size_t>(count));
    const int error = count < 0 ? errno : 0;
    descriptor_reserve().put_back(std::move(fd));
    return error;
}

int list_directory(const std::string& path, const std::function<void(const dirent64&)>& on_entry) {
    UniqueFd fd = descriptor_reserve().open(path.c_str(), O_RDONLY | O_DIRECTORY);
    if (!fd) return errno;
    alignas(dirent64) char buffer[16 * 1024];
    ssize_t count = 0;
    while ((count = ::getdents64(fd.get(), buffer, sizeof buffer)) > 0) {
        for (const char* at = buffer; at < buffer + count;) {
            const auto* entry = reinterpret_cast<const dirent64*>(at);
            at += entry->d_reclen;
            on_entry(*entry);
        }
    }
    const int error = count < 0 ? errno : 0;
    descriptor_reserve().put_back(std::move(fd));
    return error;
}

}  // namespace sandbox
