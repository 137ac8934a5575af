// stat, list_dir, walk.

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "services/filesystem_detail.hpp"

namespace sandbox::files {
namespace detail {

namespace {
constexpr std::size_t kMaxAttributes = 64 * 1024;  // the kernel's limit for a list and for a value (xattr(7))
}  // namespace

Metadata read_metadata(const std::string& path, bool follow) {
    Metadata metadata;
    std::string names(1024, '\0');
    auto list = [&] {
        return follow ? ::listxattr(path.c_str(), names.data(), names.size())
                      : ::llistxattr(path.c_str(), names.data(), names.size());
    };
    ssize_t length = list();
    if (length < 0 && errno == ERANGE) {
        names.resize(kMaxAttributes);
        length = list();
    }
    if (length <= 0) return metadata;
    names.resize(static_cast<std::size_t>(length));

    std::string value;
    for (std::size_t at = 0; at < names.size();) {
        const char* name = names.c_str() + at;
        std::string_view key(name);
        at += key.size() + 1;
        if (!key.starts_with(kMetadataPrefix)) continue;
        value.resize(kMaxAttributes);
        ssize_t size = follow ? ::getxattr(path.c_str(), name, value.data(), value.size())
                              : ::lgetxattr(path.c_str(), name, value.data(), value.size());
        if (size < 0) continue;
        metadata.emplace(key.substr(kMetadataPrefix.size()),
                         std::string(value.data(), static_cast<std::size_t>(size)));
    }
    return metadata;
}

}  // namespace detail

namespace {

using namespace detail;

std::string read_link(int dir, const std::string& name) {
    std::array<char, 4096> text;  // PATH_MAX, and no link is longer
    ssize_t length = ::readlinkat(dir, name.c_str(), text.data(), text.size());
    return length < 0 ? std::string() : std::string(text.data(), static_cast<std::size_t>(length));
}

// `name` in `dir`, and the same thing as `path`. Returns an errno, 0 for none.
int fill_entry(int dir, const std::string& name, const std::string& path, const StatOptions& options,
               Entry& entry) {
    struct stat info {};
    if (::fstatat(dir, name.c_str(), &info, options.follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0) return errno;
    SplitPath split = split_path(path);
    entry.name = split.leaf.empty() ? "/" : split.leaf;
    entry.path = path;
    entry.kind = kind_of(info.st_mode);
    entry.size = static_cast<std::uint64_t>(info.st_size);
    entry.mode = permission_bits(info.st_mode);
    entry.uid = info.st_uid;
    entry.gid = info.st_gid;
    entry.inode = info.st_ino;
    entry.device = info.st_dev;
    entry.modified = to_time(info.st_mtim);
    if (entry.kind == Kind::symlink) {
        entry.link_text = read_link(dir, name);
        struct stat target {};
        if (::fstatat(dir, name.c_str(), &target, 0) == 0) {
            entry.target_kind = kind_of(target.st_mode);
            entry.target_mode = permission_bits(target.st_mode);
            std::unique_ptr<char, decltype(&::free)> resolved(::realpath(path.c_str(), nullptr), &::free);
            if (resolved) entry.resolved = resolved.get();
        }
    } else if (options.metadata) {
        std::string by_path = dir == AT_FDCWD ? name : "/proc/self/fd/" + std::to_string(dir) + "/" + name;
        entry.metadata = read_metadata(by_path, options.follow);
    }
    return 0;
}

bool by_name(const DirEntry& a, const DirEntry& b) { return a.name < b.name; }

}  // namespace

Result<Entry> stat(const std::string& path, const StatOptions& options) {
    std::string_view op = options.follow ? "stat" : "lstat";
    if (has_nul(path)) return path_error(op, path, EINVAL);
    Entry entry;
    if (int error = fill_entry(AT_FDCWD, path, path, options, entry); error != 0) {
        return path_error(op, path, error);
    }
    return entry;
}

Result<std::vector<std::string>> list_dir(const std::string& path) {
    if (has_nul(path)) return path_error("open", path, EINVAL);
    UniqueFd dir = open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
    if (!dir) return path_error("open", path, errno);
    std::vector<DirEntry> entries;
    if (int error = read_all_entries(dir.get(), entries); error != 0) {
        return path_error("readdirent", path, error);
    }
    std::vector<std::string> names;
    names.reserve(entries.size());
    for (DirEntry& entry : entries) names.push_back(std::move(entry.name));
    std::ranges::sort(names);
    return names;
}

Result<> walk(const std::string& path, const WalkOptions& options,
              const std::function<bool(Entry&&)>& visit) {
    if (has_nul(path)) return path_error("open", path, EINVAL);
    UniqueFd top = open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
    if (!top) return path_error("open", path, errno);
    DirStack stack(std::move(top));

    struct Level {
        std::vector<DirEntry> entries;
        std::size_t next = 0;
        std::size_t path_length = 0;  // of the path of this directory, with the slash after it
    };
    std::vector<Level> levels;
    std::string here = path.ends_with('/') ? path : path + "/";
    auto begin_level = [&] {
        Level& level = levels.emplace_back();
        level.path_length = here.size();
        int error = read_all_entries(stack.fd(), level.entries);
        std::ranges::sort(level.entries, by_name);
        return error;
    };
    if (int error = begin_level(); error != 0) return path_error("readdirent", path, error);

    StatOptions stat_options;
    stat_options.metadata = options.metadata;
    while (true) {
        Level& level = levels.back();
        here.resize(level.path_length);
        if (level.next == level.entries.size()) {
            levels.pop_back();
            // A tree that is moved away meanwhile ends the walk: its remaining entries have vanished.
            if (levels.empty() || stack.leave() != 0) return {};
            continue;
        }
        const std::string& name = level.entries[level.next++].name;
        Entry entry;
        if (fill_entry(stack.fd(), name, here + name, stat_options, entry) != 0) continue;
        bool descend = entry.kind == Kind::directory && levels.size() < options.depth;
        if (!visit(std::move(entry))) return {};
        if (descend && stack.enter(name) == 0) {
            here += name;
            here += '/';
            begin_level();
        }
    }
}

}  // namespace sandbox::files
