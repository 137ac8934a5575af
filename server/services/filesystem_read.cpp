// open_for_read, read_at.

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "services/filesystem_detail.hpp"

namespace sandbox::files {
namespace {

using namespace detail;

constexpr long kFuseMagic = 0x65735546;  // linux/magic.h of Debian 12 has no FUSE_SUPER_MAGIC

bool size_is_known(int fd, const struct stat& info) {
    struct statfs system {};
    if (!S_ISREG(info.st_mode) || ::fstatfs(fd, &system) != 0) return S_ISREG(info.st_mode);
    switch (static_cast<long>(system.f_type)) {
        case PROC_SUPER_MAGIC:
        case SYSFS_MAGIC:
        case CGROUP_SUPER_MAGIC:
        case CGROUP2_SUPER_MAGIC:
        case DEBUGFS_MAGIC:
        case TRACEFS_MAGIC:
        case SECURITYFS_MAGIC:
            return false;
        case kFuseMagic:
            return info.st_size != 0;
        default:
            return true;
    }
}

bool is_special(Kind kind) { return kind != Kind::file && kind != Kind::directory; }

Error refusal(const std::string& path, Kind kind) {
    std::string message = "open " + path + ": is ";
    message += kind_with_article(kind);
    if (kind != Kind::socket) message += ", which is only read with a length";
    return Error{Errc::invalid_argument, std::move(message), EINVAL};
}

}  // namespace

Result<OpenedFile> open_for_read(const std::string& path, const ReadOptions& options) {
    if (has_nul(path)) return path_error("open", path, EINVAL);
    // Looked at before it is opened: opening a FIFO lets its writer go on, and opening a device may do
    // anything.
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return path_error("open", path, errno);
    Kind kind = kind_of(info.st_mode);
    if (is_special(kind) && !options.bounded) return refusal(path, kind);

    OpenedFile file;
    file.fd = open_at(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (!file.fd || ::fstat(file.fd.get(), &info) != 0) return path_error("open", path, errno);
    file.kind = kind_of(info.st_mode);
    if (file.kind == Kind::directory) return path_error("read", path, EISDIR);
    if (is_special(file.kind) && !options.bounded) return refusal(path, file.kind);
    file.path = path;
    file.size = static_cast<std::uint64_t>(info.st_size);
    file.size_known = size_is_known(file.fd.get(), info);
    if (file.kind == Kind::block_device) {
        off_t end = ::lseek(file.fd.get(), 0, SEEK_END);
        file.size_known = end > 0;
        file.size = static_cast<std::uint64_t>(std::max<off_t>(end, 0));
    }
    file.modified = to_time(info.st_mtim);
    file.inode = info.st_ino;
    return file;
}

Result<std::size_t> read_at(const OpenedFile& file, std::uint64_t offset, std::span<char> out) {
    if (out.empty()) return std::size_t{0};
    // Behind the end of any file; pread(2) would call it invalid.
    if (offset > INT64_MAX - out.size()) return std::size_t{0};
    bool positioned = !file.is_stream();
    while (true) {
        ssize_t count = positioned
                            ? ::pread(file.fd.get(), out.data(), out.size(), static_cast<off_t>(offset))
                            : ::read(file.fd.get(), out.data(), out.size());
        if (count >= 0) return static_cast<std::size_t>(count);
        if (errno == EINTR) continue;
        if (errno == ESPIPE && positioned) {
            positioned = false;
            continue;
        }
        return path_error("read", file.path, errno);
    }
}

}  // namespace sandbox::files
