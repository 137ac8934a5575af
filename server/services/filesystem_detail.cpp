#include "services/filesystem_detail.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/uuid.hpp"

namespace sandbox::files {

std::string_view kind_name(Kind kind) {
    switch (kind) {
        case Kind::file:
            return "file";
        case Kind::directory:
            return "directory";
        case Kind::symlink:
            return "symlink";
        case Kind::fifo:
            return "fifo";
        case Kind::socket:
            return "socket";
        case Kind::char_device:
            return "char_device";
        case Kind::block_device:
            return "block_device";
    }
    return "file";
}

namespace {
// ".<leaf, perhaps cut>.<16 hexadecimal digits>.sbx-tmp"
constexpr std::string_view kStagingSuffix = ".sbx-tmp";
constexpr std::size_t kStagingDigits = 16;
constexpr std::size_t kMaxStagedLeaf = 200;  // leaves room below NAME_MAX
}  // namespace

bool is_staging_name(std::string_view name) {
    std::size_t tail = 1 + kStagingDigits + kStagingSuffix.size();
    if (name.size() < 2 + tail || name[0] != '.' || !name.ends_with(kStagingSuffix)) return false;
    std::string_view random = name.substr(name.size() - tail, 1 + kStagingDigits);
    return random[0] == '.' && random.find_first_not_of("0123456789abcdef", 1) == std::string_view::npos;
}

namespace detail {

std::string staging_name(std::string_view leaf) {
    std::string name = ".";
    name += leaf.substr(0, kMaxStagedLeaf);
    name += '.';
    std::size_t end = name.size() + kStagingDigits;
    for (char c : uuid_v4()) {
        if (c != '-' && name.size() < end) name += c;
    }
    name += kStagingSuffix;
    return name;
}

Error path_error(std::string_view op, std::string_view path, int sys_errno) {
    std::string what(op);
    what += ' ';
    what += path;
    return sys_error(what, sys_errno);
}

bool has_nul(std::string_view path) { return path.find('\0') != std::string_view::npos; }

Kind kind_of(mode_t mode) {
    switch (mode & S_IFMT) {
        case S_IFDIR:
            return Kind::directory;
        case S_IFLNK:
            return Kind::symlink;
        case S_IFIFO:
            return Kind::fifo;
        case S_IFSOCK:
            return Kind::socket;
        case S_IFCHR:
            return Kind::char_device;
        case S_IFBLK:
            return Kind::block_device;
        default:
            return Kind::file;
    }
}

std::string_view kind_with_article(Kind kind) {
    switch (kind) {
        case Kind::file:
            return "a file";
        case Kind::directory:
            return "a directory";
        case Kind::symlink:
            return "a symbolic link";
        case Kind::fifo:
            return "a named pipe";
        case Kind::socket:
            return "a socket";
        case Kind::char_device:
        case Kind::block_device:
            return "a device";
    }
    return "a file";
}

FileTime to_time(const timespec& time) {
    return FileTime(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

UniqueFd open_at(int dir, const std::string& name, int flags, mode_t mode) {
    while (true) {
        int fd = ::openat(dir, name.c_str(), flags | O_CLOEXEC, mode);
        if (fd >= 0 || errno != EINTR) return UniqueFd(fd);
    }
}

SplitPath split_path(std::string_view path) {
    SplitPath split;
    std::size_t end = path.find_last_not_of('/');
    if (end == std::string_view::npos) {
        split.directory = path;
        split.trailing_slash = !path.empty();
        return split;
    }
    split.trailing_slash = end + 1 != path.size();
    path = path.substr(0, end + 1);
    std::size_t slash = path.rfind('/');
    std::size_t leaf = slash == std::string_view::npos ? 0 : slash + 1;
    split.directory = path.substr(0, leaf);
    split.leaf = path.substr(leaf);
    return split;
}

std::string openable(const std::string& directory) { return directory.empty() ? "." : directory; }

UniqueFd open_directory(int base, const std::string& directory) {
    return open_at(base, openable(directory), O_PATH | O_DIRECTORY);
}

int read_entries(int dir, std::vector<DirEntry>& entries) {
    alignas(dirent64) std::array<char, 32 * 1024> buffer;
    entries.clear();
    while (entries.empty()) {
        ssize_t count = ::getdents64(dir, buffer.data(), buffer.size());
        if (count < 0) return errno == ENOENT ? 0 : errno;  // ENOENT: the directory itself has been removed.
        if (count == 0) return 0;
        for (const char* at = buffer.data(); at < buffer.data() + count;) {
            unsigned short length = 0;
            std::memcpy(&length, at + offsetof(dirent64, d_reclen), sizeof length);
            DirEntry entry;
            entry.type = static_cast<unsigned char>(at[offsetof(dirent64, d_type)]);
            entry.name = at + offsetof(dirent64, d_name);
            if (entry.name != "." && entry.name != "..") entries.push_back(std::move(entry));
            at += length;
        }
    }
    return 0;
}

int read_all_entries(int dir, std::vector<DirEntry>& entries) {
    entries.clear();
    std::vector<DirEntry> some;
    while (true) {
        if (int error = read_entries(dir, some); error != 0) return error;
        if (some.empty()) return 0;
        entries.insert(entries.end(), std::make_move_iterator(some.begin()),
                       std::make_move_iterator(some.end()));
    }
}

DirStack::DirStack(UniqueFd top) {
    Level& level = levels_.emplace_back();
    level.fd = std::move(top);
    ::fstat(level.fd.get(), &level.info);
}

int DirStack::enter(const std::string& name) {
    Level level;
    level.fd = open_at(fd(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK);
    if (!level.fd || ::fstat(level.fd.get(), &level.info) != 0) return errno;
    levels_.push_back(std::move(level));
    if (levels_.size() > kOpenLevels) levels_[levels_.size() - 1 - kOpenLevels].fd.reset();
    return 0;
}

int DirStack::leave() {
    Level& parent = levels_[levels_.size() - 2];
    if (!parent.fd) {
        UniqueFd reopened = open_at(fd(), "..", O_RDONLY | O_DIRECTORY | O_NONBLOCK);
        struct stat info {};
        if (!reopened || ::fstat(reopened.get(), &info) != 0) return errno;
        if (!same_file(info, parent.info)) return ESTALE;
        parent.fd = std::move(reopened);
        parent.reopened = true;
    }
    levels_.pop_back();
    return 0;
}

bool is_inside(int dir, const struct stat& ancestor) {
    struct stat here {};
    if (::fstat(dir, &here) != 0) return false;
    UniqueFd at;
    while (!same_file(here, ancestor)) {
        UniqueFd parent = open_at(at ? at.get() : dir, "..", O_PATH | O_DIRECTORY);
        struct stat above {};
        if (!parent || ::fstat(parent.get(), &above) != 0 || same_file(here, above)) return false;
        at = std::move(parent);
        here = above;
    }
    return true;
}

}  // namespace detail
}  // namespace sandbox::files
