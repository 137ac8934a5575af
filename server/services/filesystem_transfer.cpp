// move, copy.

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "services/filesystem_detail.hpp"

namespace sandbox::files {
namespace {

using namespace detail;

std::string both(const std::string& from, const std::string& to) { return from + " " + to; }

Error special_error(std::string_view op, const std::string& path, Kind kind) {
    std::string message(op);
    message += " " + path + ": is ";
    message += kind_with_article(kind);
    return Error{Errc::invalid_argument, std::move(message), EINVAL};
}

Error into_itself(std::string_view op, const std::string& from, const std::string& to) {
    return Error{Errc::invalid_argument,
                 std::string(op) + " " + both(from, to) + ": a directory can't go into itself", EINVAL};
}

// Copies one thing, and a directory with all that is in it, to a name that nothing has.
class TreeCopier {
  public:
    struct Options {
        std::string_view op;    // for errors
        bool preserve = false;  // owner, every bit of the mode, times, attributes; else the daemon's owner
        std::optional<Owner> owner;  // without preserve
    };
    explicit TreeCopier(const Options& options) : options_(options) {}

    // `path` is what errors call the source. On an error the destination may hold a part.
    Result<> copy(int from_dir, const std::string& from, int to_dir, const std::string& to,
                  const std::string& path) {
        struct stat info {};
        if (::fstatat(from_dir, from.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return error(path, errno);
        if (!S_ISDIR(info.st_mode)) return copy_entry(from_dir, from, to_dir, to, path);

        UniqueFd source = open_at(from_dir, from, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK);
        if (!source) return error(path, errno);
        if (::mkdirat(to_dir, to.c_str(), 0700) != 0) return error(path, errno);
        UniqueFd target = open_at(to_dir, to, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (!target) return error(path, errno);
        return copy_levels(DirStack(std::move(source)), DirStack(std::move(target)), path);
    }

  private:
    struct Level {
        std::vector<std::string> pending;  // directories still to be copied
        std::size_t path_length = 0;
    };

    Result<> copy_levels(DirStack source, DirStack target, std::string path) {
        std::vector<Level> levels;
        if (Result<> begun = begin_level(levels, source, target, path); !begun) return begun;
        while (true) {
            Level& level = levels.back();
            path.resize(level.path_length);
            if (level.pending.empty()) {
                finish(source.fd(), target.fd(), source.info());
                levels.pop_back();
                if (levels.empty()) return {};
                if (int failed = source.leave(); failed != 0) return error(path, failed);
                if (int failed = target.leave(); failed != 0) return error(path, failed);
                continue;
            }
            std::string name = std::move(level.pending.back());
            level.pending.pop_back();
            path += "/" + name;
            if (int failed = source.enter(name); failed != 0) {
                if (failed == ENOENT) continue;
                return error(path, failed);
            }
            if (::mkdirat(target.fd(), name.c_str(), 0700) != 0) return error(path, errno);
            if (int failed = target.enter(name); failed != 0) return error(path, failed);
            if (Result<> begun = begin_level(levels, source, target, path); !begun) return begun;
        }
    }

    // Everything but the directories.
    Result<> begin_level(std::vector<Level>& levels, const DirStack& source, const DirStack& target,
                         const std::string& path) {
        Level& level = levels.emplace_back();
        level.path_length = path.size();
        std::vector<DirEntry> entries;
        while (true) {
            if (int failed = read_entries(source.fd(), entries); failed != 0) return error(path, failed);
            if (entries.empty()) return {};
            for (DirEntry& entry : entries) {
                struct stat info {};
                bool directory = entry.type == DT_DIR;
                if (entry.type == DT_UNKNOWN) {
                    directory = ::fstatat(source.fd(), entry.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
                                S_ISDIR(info.st_mode);
                }
                if (directory) {
                    level.pending.push_back(std::move(entry.name));
                    continue;
                }
                Result<> copied =
                    copy_entry(source.fd(), entry.name, target.fd(), entry.name, path + "/" + entry.name);
                if (!copied && copied.error().sys_errno != ENOENT) return copied;
            }
        }
    }

    Result<> copy_entry(int from_dir, const std::string& from, int to_dir, const std::string& to,
                        const std::string& path) {
        struct stat info {};
        if (::fstatat(from_dir, from.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return error(path, errno);
        if (S_ISLNK(info.st_mode)) return copy_link(from_dir, from, to_dir, to, path, info);
        if (!S_ISREG(info.st_mode)) return special_error(options_.op, path, kind_of(info.st_mode));

        UniqueFd source = open_at(from_dir, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
        if (!source || ::fstat(source.get(), &info) != 0) return error(path, errno);
        if (!S_ISREG(info.st_mode)) return special_error(options_.op, path, kind_of(info.st_mode));
        UniqueFd target = open_at(to_dir, to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        if (!target) return error(path, errno);
        FileSource bytes(source.get(), path);
        if (Result<std::uint64_t> written = write_content(target.get(), bytes, path); !written) {
            return error(path, written.error().sys_errno);
        }
        finish(source.get(), target.get(), info);
        if (::close(target.release()) != 0 && errno != EINTR) return error(path, errno);
        return {};
    }

    Result<> copy_link(int from_dir, const std::string& from, int to_dir, const std::string& to,
                       const std::string& path, const struct stat& info) {
        std::array<char, 4096> text;  // PATH_MAX, and no link is longer
        ssize_t length = ::readlinkat(from_dir, from.c_str(), text.data(), text.size());
        if (length < 0) return error(path, errno);
        std::string destination(text.data(), static_cast<std::size_t>(length));
        if (::symlinkat(destination.c_str(), to_dir, to.c_str()) != 0) return error(path, errno);
        std::optional<Owner> owner = wanted_owner(info);
        // The owner as far as we may: mv(1) and cp(1), too, leave it where it can't be given away.
        if (owner) {
            static_cast<void>(::fchownat(to_dir, to.c_str(), owner->uid, owner->gid, AT_SYMLINK_NOFOLLOW) ==
                              0);
        }
        if (options_.preserve) {
            std::array<timespec, 2> times{info.st_atim, info.st_mtim};
            ::utimensat(to_dir, to.c_str(), times.data(), AT_SYMLINK_NOFOLLOW);
        }
        return {};
    }

    // Owner, attributes, mode and times, in the order in which none undoes another; as far as we may.
    void finish(int source, int target, const struct stat& info) {
        std::optional<Owner> owner = wanted_owner(info);
        if (owner) static_cast<void>(::fchown(target, owner->uid, owner->gid) == 0);
        if (options_.preserve) copy_attributes(source, target, true, true);
        // The bits that give the rights of an owner go only to copies of that owner.
        mode_t bits = options_.preserve ? 07777 : 01777;
        ::fchmod(target, info.st_mode & bits);
        if (options_.preserve) {
            std::array<timespec, 2> times{info.st_atim, info.st_mtim};
            ::futimens(target, times.data());
        }
    }

    std::optional<Owner> wanted_owner(const struct stat& info) const {
        if (options_.preserve) return Owner{info.st_uid, info.st_gid};
        return options_.owner;
    }

    Error error(const std::string& path, int sys_errno) const {
        return path_error(options_.op, path, sys_errno);
    }

    Options options_;
};

// A copy under a staging name, which is removed again unless it is put in place.
class StagedCopy {
  public:
    StagedCopy(int dir, const std::string& leaf) : dir_(dir), leaf_(leaf), name_(staging_name(leaf)) {}
    StagedCopy(const StagedCopy&) = delete;
    StagedCopy& operator=(const StagedCopy&) = delete;
    ~StagedCopy() {
        if (placed_) return;
        if (::unlinkat(dir_, name_.c_str(), 0) != 0 && errno != ENOENT) {
            static_cast<void>(remove_tree_at(dir_, name_, name_));
        }
    }
    const std::string& name() const { return name_; }

    // Returns an errno, 0 for none.
    int place(bool replace) {
        if (::renameat2(dir_, name_.c_str(), dir_, leaf_.c_str(), replace ? 0 : RENAME_NOREPLACE) != 0) {
            if (replace || errno == EEXIST) return errno;
            struct stat info {};  // A file system without the flag.
            if (::fstatat(dir_, leaf_.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) return EEXIST;
            if (::renameat(dir_, name_.c_str(), dir_, leaf_.c_str()) != 0) return errno;
        }
        placed_ = true;
        return 0;
    }

  private:
    int dir_;
    std::string leaf_;
    std::string name_;
    bool placed_ = false;
};

Result<> make_parents(const std::string& path, const TransferOptions& options) {
    SplitPath split = split_path(path);
    if (!options.create_parents || split.directory.empty()) return {};
    MakeDirOptions dir_options;
    dir_options.owner = options.owner;
    Result<bool> made = make_dir(split.directory, dir_options);
    if (!made) return made.error();
    return {};
}

struct Place {
    UniqueFd dir;
    std::string leaf;
};

// Returns an errno, 0 for none.
int open_place(const std::string& path, Place& place) {
    SplitPath split = split_path(path);
    if (split.leaf.empty() || split.leaf == "." || split.leaf == "..") return EBUSY;  // As rename(2).
    place.dir = open_directory(AT_FDCWD, split.directory);
    place.leaf = std::move(split.leaf);
    return place.dir ? 0 : errno;
}

Result<> move_across(const std::string& from, const std::string& to, const TransferOptions& options) {
    Place source;
    Place target;
    if (int error = open_place(from, source); error != 0) return path_error("rename", both(from, to), error);
    if (int error = open_place(to, target); error != 0) return path_error("rename", both(from, to), error);
    struct stat info {};
    if (::fstatat(source.dir.get(), source.leaf.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
        return path_error("rename", both(from, to), errno);
    }
    // What rename(2) would refuse in the end, before all the copying.
    struct stat old {};
    if (::fstatat(target.dir.get(), target.leaf.c_str(), &old, AT_SYMLINK_NOFOLLOW) == 0) {
        int error = 0;
        if (!options.replace) {
            error = EEXIST;
        } else if (S_ISDIR(old.st_mode) != S_ISDIR(info.st_mode)) {
            error = S_ISDIR(old.st_mode) ? EISDIR : ENOTDIR;
        }
        if (error != 0) return path_error("rename", both(from, to), error);
    }
    if (S_ISDIR(info.st_mode) && is_inside(target.dir.get(), info)) return into_itself("rename", from, to);

    TreeCopier::Options copy_options;
    copy_options.op = "rename";
    copy_options.preserve = true;
    TreeCopier copier(copy_options);
    StagedCopy staged(target.dir.get(), target.leaf);
    if (Result<> copied = copier.copy(source.dir.get(), source.leaf, target.dir.get(), staged.name(), from);
        !copied) {
        return copied;
    }
    if (int error = staged.place(options.replace); error != 0) {
        return path_error("rename", both(from, to), error);
    }
    if (S_ISDIR(info.st_mode)) return remove_tree_at(source.dir.get(), source.leaf, from);
    if (::unlinkat(source.dir.get(), source.leaf.c_str(), 0) != 0 && errno != ENOENT) {
        return path_error("remove", from, errno);
    }
    return {};
}

}  // namespace

Result<> move(const std::string& from, const std::string& to, const TransferOptions& options) {
    if (has_nul(from) || has_nul(to)) return path_error("rename", both(from, to), EINVAL);
    struct stat source {};
    if (::lstat(from.c_str(), &source) != 0) return path_error("rename", both(from, to), errno);
    if (Result<> made = make_parents(to, options); !made) return made;

    struct stat target {};
    bool exists = ::lstat(to.c_str(), &target) == 0;
    if (exists && same_file(source, target)) {
        // rename(2) does nothing then, and with two names that would leave both.
        Place a;
        Place b;
        struct stat a_info {};
        struct stat b_info {};
        int error = open_place(from, a);
        if (error == 0) error = open_place(to, b);
        if (error != 0) return path_error("rename", both(from, to), error);
        ::fstat(a.dir.get(), &a_info);
        ::fstat(b.dir.get(), &b_info);
        if (same_file(a_info, b_info) && a.leaf == b.leaf) return {};
        if (!options.replace) return path_error("rename", both(from, to), EEXIST);
        if (!S_ISDIR(source.st_mode)) {
            if (::unlinkat(a.dir.get(), a.leaf.c_str(), 0) == 0) return {};
            return path_error("rename", both(from, to), errno);
        }
    }
    if (exists && !options.replace) return path_error("rename", both(from, to), EEXIST);

    int error = 0;
    unsigned flags = options.replace ? 0 : RENAME_NOREPLACE;
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) != 0) error = errno;
    if (flags != 0 && (error == EINVAL || error == ENOSYS)) {  // Perhaps a file system without the flag.
        error = ::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
    }
    if (error == 0) return {};
    if (error == EXDEV) return move_across(from, to, options);
    if (error == EINVAL && S_ISDIR(source.st_mode)) {
        Place place;
        if (open_place(to, place) == 0 && is_inside(place.dir.get(), source)) {
            return into_itself("rename", from, to);
        }
    }
    return path_error("rename", both(from, to), error);
}

Result<> copy(const std::string& from, const std::string& to, const TransferOptions& options) {
    if (has_nul(from) || has_nul(to)) return path_error("copy", both(from, to), EINVAL);
    struct stat source {};
    if (::stat(from.c_str(), &source) != 0) return path_error("copy", both(from, to), errno);
    if (!S_ISREG(source.st_mode) && !S_ISDIR(source.st_mode)) {
        return special_error("copy", from, kind_of(source.st_mode));
    }
    if (Result<> made = make_parents(to, options); !made) return made;
    struct stat target {};
    bool exists = ::stat(to.c_str(), &target) == 0;

    if (S_ISREG(source.st_mode)) {
        if (exists && same_file(source, target)) {
            return Error{Errc::invalid_argument, "copy " + both(from, to) + ": are the same file", EINVAL};
        }
        Result<OpenedFile> file = open_for_read(from);
        if (!file) return path_error("copy", both(from, to), file.error().sys_errno);
        FileSource bytes(file->fd.get(), from);
        WriteOptions write_options;
        write_options.mode_if_new = source.st_mode & 01777;
        write_options.must_be_new = !options.replace;
        write_options.owner = options.owner;
        Result<WriteOutcome> written = write_file(to, write_options, bytes);
        if (!written) return written.error();
        return {};
    }

    Place place;
    if (int error = open_place(to, place); error != 0) return path_error("copy", both(from, to), error);
    if (is_inside(place.dir.get(), source)) return into_itself("copy", from, to);
    if (::fstatat(place.dir.get(), place.leaf.c_str(), &target, AT_SYMLINK_NOFOLLOW) == 0) {
        return path_error("copy", both(from, to), EEXIST);
    }
    UniqueFd top = open_directory(AT_FDCWD, from);
    if (!top) return path_error("copy", both(from, to), errno);
    TreeCopier::Options copy_options;
    copy_options.op = "copy";
    copy_options.owner = options.owner;
    TreeCopier copier(copy_options);
    StagedCopy staged(place.dir.get(), place.leaf);
    std::string name = from;
    while (name.size() > 1 && name.ends_with('/')) name.pop_back();
    if (Result<> copied = copier.copy(top.get(), ".", place.dir.get(), staged.name(), name); !copied) {
        return copied;
    }
    if (int error = staged.place(false); error != 0) return path_error("copy", both(from, to), error);
    return {};
}

}  // namespace sandbox::files
