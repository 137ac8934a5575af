// Bytes and attributes from one descriptor to another.

#include <fcntl.h>
#include <poll.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "services/filesystem_detail.hpp"

namespace sandbox::files::detail {
namespace {

constexpr std::size_t kBufferSize = 256 * 1024;
// So that an error comes at a known position, and no single call takes for ever.
constexpr std::uint64_t kMaxStep = 64 * 1024 * 1024;
constexpr std::size_t kMaxAttribute = 64 * 1024;  // the kernel's limits, xattr(7)

// Returns an errno, 0 for none.
int write_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        ssize_t count = ::write(fd, bytes.data(), std::min<std::size_t>(bytes.size(), kMaxStep));
        if (count >= 0) {
            bytes.remove_prefix(static_cast<std::size_t>(count));
            continue;
        }
        if (errno == EINTR) continue;
        if (errno != EAGAIN) return errno;
        pollfd entry{fd, POLLOUT, 0};
        int patience = static_cast<int>(std::chrono::milliseconds(kStreamPatience).count());
        if (::poll(&entry, 1, patience) == 0) return EAGAIN;
    }
    return 0;
}

// False when the kernel can't copy between these two; `copied` counts what it did before.
bool copy_extent(int fd, const ByteSource::FileExtent& extent, std::uint64_t& copied, int& error) {
    auto position = static_cast<off_t>(extent.position);
    copied = 0;
    error = 0;
    while (copied < extent.length) {
        ssize_t count = ::copy_file_range(extent.fd, &position, fd, nullptr,
                                          std::min(extent.length - copied, kMaxStep), 0);
        if (count > 0) {
            copied += static_cast<std::uint64_t>(count);
            continue;
        }
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO)) {
            error = errno;
            return true;
        }
        // Not for these file systems, or the file is shorter than was said (or is one of /proc, that looks
        // so).
        return false;
    }
    return true;
}

std::string attribute_names(int fd) {
    std::string names(1024, '\0');
    ssize_t length = ::flistxattr(fd, names.data(), names.size());
    if (length < 0 && errno == ERANGE) {
        names.resize(kMaxAttribute);
        length = ::flistxattr(fd, names.data(), names.size());
    }
    names.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
    return names;
}

template <class F>
void for_each_name(const std::string& names, F visit) {
    for (std::size_t at = 0; at < names.size();) {
        std::string_view name(names.c_str() + at);
        visit(name, names.c_str() + at);
        at += name.size() + 1;
    }
}

}  // namespace

Result<std::size_t> FileSource::read(std::uint64_t offset, std::span<char> out) {
    while (true) {
        ssize_t count = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
        if (count >= 0) return static_cast<std::size_t>(count);
        if (errno != EINTR) return path_error("read", path_, errno);
    }
}

std::optional<ByteSource::FileExtent> FileSource::file_extent(std::uint64_t offset) const {
    struct stat info {};
    if (::fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
    auto size = static_cast<std::uint64_t>(info.st_size);
    if (offset >= size) return std::nullopt;
    return FileExtent{fd_, offset, size - offset};
}

Result<std::uint64_t> write_content(int fd, ByteSource& source, const std::string& path) {
    std::uint64_t offset = 0;
    bool by_kernel = true;
    std::unique_ptr<char[]> buffer;
    while (true) {
        std::string_view bytes = source.view(offset);
        if (bytes.empty() && by_kernel) {
            if (auto extent = source.file_extent(offset)) {
                std::uint64_t copied = 0;
                int error = 0;
                by_kernel = copy_extent(fd, *extent, copied, error);
                if (error != 0) return path_error("write", path, error);
                offset += copied;
                if (copied != 0) continue;
            }
        }
        if (bytes.empty()) {
            if (!buffer) buffer = std::make_unique_for_overwrite<char[]>(kBufferSize);
            Result<std::size_t> count = source.read(offset, std::span<char>(buffer.get(), kBufferSize));
            if (!count) return count.error();
            if (*count == 0) return offset;
            bytes = std::string_view(buffer.get(), *count);
        }
        if (int error = write_all(fd, bytes); error != 0) return path_error("write", path, error);
        offset += bytes.size();
    }
}

void copy_attributes(int from, int to, bool with_content, bool metadata) {
    std::string value(kMaxAttribute, '\0');
    for_each_name(attribute_names(from), [&](std::string_view name, const char* c_name) {
        bool of_content = name == "security.capability" || name == "security.ima" || name == "security.evm";
        if ((of_content && !with_content) || (name.starts_with(kMetadataPrefix) && !metadata)) return;
        ssize_t size = ::fgetxattr(from, c_name, value.data(), value.size());
        if (size >= 0) ::fsetxattr(to, c_name, value.data(), static_cast<std::size_t>(size), 0);
    });
}

Result<> replace_metadata(int fd, const Metadata& metadata, const std::string& path) {
    for_each_name(attribute_names(fd), [&](std::string_view name, const char* c_name) {
        if (!name.starts_with(kMetadataPrefix)) return;
        if (!metadata.contains(std::string(name.substr(kMetadataPrefix.size())))) ::fremovexattr(fd, c_name);
    });
    for (const auto& [key, value] : metadata) {
        std::string name(kMetadataPrefix);
        name += key;
        if (::fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) == 0) continue;
        // EPERM is the answer for what can't have any: devices, FIFOs.
        if (errno != EOPNOTSUPP && errno != EPERM && errno != ENOSYS) {
            return path_error("setxattr", path, errno);
        }
    }
    return {};
}

}  // namespace sandbox::files::detail
