// write_file.

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "services/filesystem_detail.hpp"
#include "services/staged_file.hpp"

namespace sandbox::files {
namespace {

using namespace detail;

constexpr int kMaxLinks = 40;  // path_resolution(7)
// The target may be swapped while we look at it; after that many times somebody means it.
constexpr int kMaxRaces = 16;
constexpr mode_t kNewFileMode = 0644;

// What is to be written, with every link at the end of the path resolved.
struct Target {
    UniqueFd dir;  // O_PATH
    std::string leaf;
    bool exists = false;
    bool magic_link = false;  // an entry of /proc/<pid>/fd, which only the kernel can follow
    struct stat info {};      // of what exists
};

bool on_proc(int dir) {
    struct statfs system {};
    return ::fstatfs(dir, &system) == 0 && system.f_type == PROC_SUPER_MAGIC;
}

// Returns an errno, 0 for none.
int resolve(const std::string& path, bool follow, Target& target) {
    if (path.empty()) return ENOENT;
    target = Target();
    UniqueFd base;
    std::string rest = path;
    for (int links = 0; links <= kMaxLinks; ++links) {
        SplitPath split = split_path(rest);
        target.dir = open_directory(base ? base.get() : AT_FDCWD, split.directory);
        if (!target.dir) return errno;
        if (split.leaf.empty() || split.leaf == "." || split.leaf == "..") return EISDIR;
        target.leaf = std::move(split.leaf);

        target.exists =
            ::fstatat(target.dir.get(), target.leaf.c_str(), &target.info, AT_SYMLINK_NOFOLLOW) == 0;
        if (!target.exists && errno != ENOENT) return errno;
        // As open(2) says of any name that ends with a slash and may have to be made.
        if (split.trailing_slash) return EISDIR;
        if (!target.exists || !S_ISLNK(target.info.st_mode) || !follow) {
            return target.exists && S_ISDIR(target.info.st_mode) ? EISDIR : 0;
        }
        if (on_proc(target.dir.get())) {
            target.magic_link = true;
            if (::fstatat(target.dir.get(), target.leaf.c_str(), &target.info, 0) != 0) return errno;
            return S_ISDIR(target.info.st_mode) ? EISDIR : 0;
        }
        // The kernel may know better than to follow it: somebody else's link in a sticky directory
        // (fs.protected_symlinks in proc_sys_fs(5)).
        struct stat followed {};
        if (::fstatat(target.dir.get(), target.leaf.c_str(), &followed, 0) != 0 && errno == EACCES) {
            return EACCES;
        }
        std::array<char, 4096> text;  // PATH_MAX, and no link is longer
        ssize_t length = ::readlinkat(target.dir.get(), target.leaf.c_str(), text.data(), text.size());
        if (length < 0) return errno;
        rest.assign(text.data(), static_cast<std::size_t>(length));
        base = std::move(target.dir);
    }
    return ELOOP;
}

// A file that is a mount point of its own, as /etc/hosts in a container: rename(2) onto it says EBUSY, which
// would come after all the writing.
bool is_mount_point(const Target& target) {
    struct statx info {};
    return ::statx(target.dir.get(), target.leaf.c_str(), AT_SYMLINK_NOFOLLOW, STATX_TYPE, &info) == 0 &&
           (info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

bool stays_in_place(const Target& target, const WriteOptions& options) {
    if (options.append) return true;
    if (!target.exists) return false;
    return target.magic_link || !S_ISREG(target.info.st_mode) || target.info.st_nlink > 1 ||
           is_mount_point(target);
}

// Whether an error of the staging is a matter of the directory or file system, which writing in place may not
// meet, and not of space or of ourselves.
bool may_go_in_place(int error) {
    switch (error) {
        case ENOSPC:
        case EDQUOT:
        case EFBIG:
        case EIO:
        case EMFILE:
        case ENFILE:
        case ENOMEM:
            return false;
        default:
            return true;
    }
}

enum class Attempt { done, in_place, again };

class FileWriter {
  public:
    FileWriter(const std::string& path, const WriteOptions& options, ByteSource& source)
        : path_(path), options_(options), source_(source) {}

    Result<WriteOutcome> run() {
        if (has_nul(path_)) return path_error("open", path_, EINVAL);
        for (int race = 0; race < kMaxRaces; ++race) {
            int error = resolve(path_, !options_.must_be_new, target_);
            if (error == ENOENT && options_.create_parents && race == 0) {
                if (Result<> made = make_parents(); !made) return made.error();
                continue;
            }
            if (error == 0 && target_.exists && options_.must_be_new) error = EEXIST;
            if (error != 0) return path_error("open", path_, error);
            // What may not be written in place may not be replaced either.
            if (target_.exists && !target_.magic_link &&
                ::faccessat(target_.dir.get(), target_.leaf.c_str(), W_OK, 0) != 0) {
                if (errno == ENOENT) continue;
                return path_error("open", path_, errno);
            }
            Result<Attempt> attempt = Attempt::in_place;
            if (!stays_in_place(target_, options_)) {
                if (may_adopt()) attempt = stage(source_.unnamed_file());
                if (attempt && *attempt == Attempt::in_place) attempt = stage(-1);
            }
            if (attempt && *attempt == Attempt::in_place) attempt = write_in_place();
            if (!attempt) return attempt.error();
            if (*attempt == Attempt::done) return outcome_;
        }
        return path_error("open", path_, EBUSY);
    }

  private:
    Result<> make_parents() {
        SplitPath split = split_path(path_);
        if (split.directory.empty()) return {};
        MakeDirOptions options;
        options.owner = options_.owner;
        Result<bool> made = make_dir(split.directory, options);
        if (!made) return made.error();
        return {};
    }

    // The bits the file is to have in the end; nothing when creating it gave it the right ones.
    std::optional<mode_t> wanted_mode(bool existed) const {
        if (options_.mode) return permission_bits(*options_.mode);
        if (existed) return permission_bits(target_.info.st_mode);
        return options_.mode_if_new;
    }

    Result<Attempt> refused(std::string_view op, int error) const {
        if (may_go_in_place(error)) return Attempt::in_place;
        return path_error(op, path_, error);
    }

    // Whether the source's own file would be as one that is made here: on this file system, and with nothing
    // to inherit from the directory (group, default ACL) nor from the umask.
    bool may_adopt() const {
        struct stat file {};
        struct stat directory {};
        int fd = source_.unnamed_file();
        if (fd < 0 || ::fstat(fd, &file) != 0 || ::fstat(target_.dir.get(), &directory) != 0) return false;
        if (file.st_dev != directory.st_dev || !wanted_mode(target_.exists)) return false;
        if (!options_.owner && !target_.exists && (directory.st_mode & S_ISGID) != 0) return false;
        UniqueFd readable = open_at(target_.dir.get(), ".", O_RDONLY | O_DIRECTORY);
        return readable && ::fgetxattr(readable.get(), "system.posix_acl_default", nullptr, 0) < 0;
    }

    // `file` (or -1) has the content already. in_place: it cannot be done this way.
    Result<Attempt> stage(int file) {
        StagedFile staged;
        // Others see nothing of it before it has the bits that it is to have.
        mode_t first_mode = wanted_mode(target_.exists) ? 0600 : kNewFileMode;
        const int error_of_open = file >= 0 ? staged.adopt(target_.dir.get(), target_.leaf, file)
                                            : staged.create(target_.dir.get(), target_.leaf, first_mode);
        if (error_of_open != 0) return refused("open", error_of_open);
        if (int error = take_owner(staged.fd()); error != 0) {
            return options_.owner ? path_error("chown", path_, error) : refused("chown", error);
        }
        if (file < 0) {
            Result<std::uint64_t> written = write_content(staged.fd(), source_, path_);
            if (!written) return written.error();
            outcome_.bytes = *written;
        } else if (int error = count_bytes(staged.fd()); error != 0) {
            return path_error("write", path_, error);
        }
        if (Result<> kept = take_attributes(staged.fd()); !kept) return kept.error();

        int error = 0;
        bool existed = target_.exists;
        if (!existed) {
            error = staged.publish_new(options_.by_rename);
            if (error == EEXIST) {
                // Made by somebody else meanwhile: it is replaced like any other, from the start.
                return options_.must_be_new ? Result<Attempt>(path_error("open", path_, EEXIST))
                                            : Attempt::again;
            }
        } else {
            error = staged.publish_over();
        }
        if (error == EISDIR) return path_error("open", path_, EISDIR);
        if (error != 0) return refused("write", error);
        outcome_.created = !existed;
        outcome_.atomic = true;
        return Attempt::done;
    }

    int count_bytes(int fd) {
        struct stat info {};
        if (::fstat(fd, &info) != 0) return errno;
        outcome_.bytes = static_cast<std::uint64_t>(info.st_size);
        return 0;
    }

    int take_owner(int fd) const {
        struct stat info {};
        if (::fstat(fd, &info) != 0) return errno;
        Owner wanted{info.st_uid, info.st_gid};
        if (target_.exists) wanted = Owner{target_.info.st_uid, target_.info.st_gid};
        if (options_.owner) wanted = *options_.owner;
        if (wanted.uid == info.st_uid && wanted.gid == info.st_gid) return 0;
        return ::fchown(fd, wanted.uid, wanted.gid) == 0 ? 0 : errno;
    }

    Result<> take_attributes(int fd) const {
        if (target_.exists) {
            UniqueFd old = open_at(target_.dir.get(), target_.leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
            if (old) copy_attributes(old.get(), fd, false, !options_.metadata);
        }
        if (auto mode = wanted_mode(target_.exists); mode && ::fchmod(fd, *mode) != 0) {
            return path_error("chmod", path_, errno);
        }
        if (options_.metadata) return replace_metadata(fd, *options_.metadata, path_);
        return {};
    }

    Result<Attempt> write_in_place() {
        int flags = O_WRONLY | O_NONBLOCK | O_NOCTTY;
        if (options_.append) flags |= O_APPEND;
        if (!options_.append && target_.exists && S_ISREG(target_.info.st_mode)) flags |= O_TRUNC;
        if (!target_.exists) flags |= O_CREAT | O_EXCL;
        if (!target_.magic_link) flags |= O_NOFOLLOW;
        UniqueFd fd = open_at(target_.dir.get(), target_.leaf, flags, kNewFileMode);
        if (!fd) {
            int error = errno;
            bool swapped = target_.exists ? error == ENOENT || (error == ELOOP && !target_.magic_link)
                                          : error == EEXIST && !options_.must_be_new;
            if (swapped) return Attempt::again;
            return path_error("open", path_, error);
        }
        Result<std::uint64_t> written = fill(std::move(fd));
        if (!written) {
            // Of a file that is ours alone nothing half written stays.
            if (!target_.exists) ::unlinkat(target_.dir.get(), target_.leaf.c_str(), 0);
            return written.error();
        }
        outcome_.bytes = *written;
        outcome_.created = !target_.exists;
        outcome_.atomic = false;
        return Attempt::done;
    }

    Result<std::uint64_t> fill(UniqueFd fd) const {
        Reservation room;
        if (options_.append) {
            int error = room.take(fd.get(), options_.length);
            if (error != 0) return path_error("write", path_, error);
        }
        Result<std::uint64_t> written = write_content(fd.get(), source_, path_);
        if (!written) {
            room.give_back();
            return written;
        }
        if (Result<> changed = change_attributes(fd.get()); !changed) return changed.error();
        int raw = fd.release();
        if (::close(raw) != 0 && errno != EINTR) return path_error("write", path_, errno);
        return written;
    }

    // After writing in place: only what was asked for.
    Result<> change_attributes(int fd) const {
        struct stat info {};
        if (::fstat(fd, &info) != 0) return path_error("write", path_, errno);
        if (options_.owner && (options_.owner->uid != info.st_uid || options_.owner->gid != info.st_gid) &&
            ::fchown(fd, options_.owner->uid, options_.owner->gid) != 0) {
            return path_error("chown", path_, errno);
        }
        std::optional<mode_t> mode = options_.mode;
        if (!mode && !target_.exists) mode = options_.mode_if_new;
        if (mode && ::fchmod(fd, permission_bits(*mode)) != 0) return path_error("chmod", path_, errno);
        if (options_.metadata) return replace_metadata(fd, *options_.metadata, path_);
        return {};
    }

    const std::string& path_;
    const WriteOptions& options_;
    ByteSource& source_;
    Target target_;
    WriteOutcome outcome_;
};

}  // namespace

Result<WriteOutcome> write_file(const std::string& path, const WriteOptions& options, ByteSource& source) {
    FileWriter writer(path, options, source);
    return writer.run();
}

}  // namespace sandbox::files
