// delete_file, delete_dir, remove_all.

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "services/filesystem_detail.hpp"

namespace sandbox::files {
namespace detail {
namespace {

// A directory somebody keeps filling is gone through this often before its removal is given up.
constexpr int kMaxPasses = 16;
// Subdirectories remembered at a time, so that memory does not grow with the width of a tree.
constexpr std::size_t kMaxPending = 4096;

class TreeRemover {
  public:
    TreeRemover(int parent, const std::string& leaf, const std::string& path)
        : parent_(parent), leaf_(leaf), path_(path) {
        has_root_ = ::stat("/", &root_) == 0;
    }

    Result<> run() {
        UniqueFd top = open_at(parent_, leaf_, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK);
        if (!top) {
            int error = errno;
            if (error == ENOENT || remove_empty(parent_, leaf_) == 0) return {};
            return path_error("openfdat", path_, error);
        }
        stack_.emplace(std::move(top));
        if (is_root()) return path_error("RemoveAll", path_, EPERM);
        frames_.emplace_back();
        while (!frames_.empty()) {
            Frame& frame = frames_.back();
            if (!frame.pending.empty()) {
                std::string name = std::move(frame.pending.back());
                frame.pending.pop_back();
                enter(std::move(name), 0);
            } else if (!frame.scanned) {
                scan(frame);
            } else if (!leave()) {
                break;
            }
        }
        if (error_) return *error_;
        return {};
    }

  private:
    struct Frame {
        std::string name;  // empty for the top
        std::vector<std::string> pending;
        bool scanned = false;
        bool failed = false;  // something in it stays, so it does
        int passes = 0;
    };

    static int remove_empty(int dir, const std::string& name) {
        return ::unlinkat(dir, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : errno;
    }

    // A bind mount of the root directory somewhere in the tree.
    bool is_root() const { return has_root_ && same_file(stack_->info(), root_); }

    void fail(std::string_view op, const std::string& name, int error) {
        frames_.back().failed = true;
        if (error_) return;
        std::string path = path_;
        for (const Frame& frame : frames_) {
            if (!frame.name.empty()) path += "/" + frame.name;
        }
        if (!name.empty()) path += "/" + name;
        error_ = path_error(op, path, error);
    }

    void enter(std::string name, int passes) {
        if (int error = stack_->enter(name); error != 0) {
            if (error == ENOENT) return;
            if (error == ENOTDIR || error == ELOOP) {  // No directory any more.
                remove_entry(frames_.back(), std::move(name));
            } else if (remove_empty(stack_->fd(), name) != 0) {
                fail("openfdat", name, error);
            }
            return;
        }
        if (is_root()) {
            stack_->leave();
            fail("unlinkat", name, EBUSY);
            return;
        }
        Frame& frame = frames_.emplace_back();
        frame.name = std::move(name);
        frame.passes = passes;
    }

    void remove_entry(Frame& frame, std::string name) {
        if (::unlinkat(stack_->fd(), name.c_str(), 0) == 0 || errno == ENOENT) return;
        int error = errno;
        struct stat info {};
        bool directory = error == EISDIR;
        if (error == EPERM && ::fstatat(stack_->fd(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
            directory = S_ISDIR(info.st_mode);
        }
        if (directory) {
            frame.pending.push_back(std::move(name));
        } else {
            fail("unlinkat", name, error);
        }
    }

    // Removes what is no directory, until enough directories are pending.
    void scan(Frame& frame) {
        if (stack_->reopened() && frame.failed) {  // It would come by what stays again and again.
            frame.scanned = true;
            return;
        }
        std::vector<DirEntry> entries;
        while (frame.pending.size() < kMaxPending) {
            if (int error = read_entries(stack_->fd(), entries); error != 0) {
                fail("readdirent", "", error);
                entries.clear();
            }
            if (entries.empty()) {
                frame.scanned = true;
                return;
            }
            for (DirEntry& entry : entries) {
                if (entry.type == DT_DIR) {
                    frame.pending.push_back(std::move(entry.name));
                } else {
                    remove_entry(frame, std::move(entry.name));
                }
            }
        }
    }

    // Out of the innermost directory, and removes it. False when the way back is lost.
    bool leave() {
        Frame frame = std::move(frames_.back());
        bool top = frames_.size() == 1;
        if (!top) {
            if (int error = stack_->leave(); error != 0) {
                fail("openfdat", "..", error);
                return false;
            }
        }
        frames_.pop_back();
        if (frame.failed) {
            if (!top) frames_.back().failed = true;
            return true;
        }
        int error = remove_empty(top ? parent_ : stack_->fd(), top ? leaf_ : frame.name);
        if (error == 0) return true;
        if ((error == ENOTEMPTY || error == EEXIST) && frame.passes < kMaxPasses) {
            if (top) {
                if (::lseek(stack_->fd(), 0, SEEK_SET) == 0) {
                    frames_.emplace_back().passes = frame.passes + 1;
                    return true;
                }
            } else {
                enter(std::move(frame.name), frame.passes + 1);
                return true;
            }
        }
        if (top) {
            error_ = path_error("unlinkat", path_, error);
        } else {
            fail("unlinkat", frame.name, error);
        }
        return true;
    }

    int parent_;
    const std::string& leaf_;
    const std::string& path_;
    struct stat root_ {};
    bool has_root_ = false;
    std::optional<DirStack> stack_;
    std::vector<Frame> frames_;
    std::optional<Error> error_;
};

}  // namespace

Result<> remove_tree_at(int parent, const std::string& leaf, const std::string& path) {
    TreeRemover remover(parent, leaf, path);
    return remover.run();
}

}  // namespace detail

namespace {

using namespace detail;

Result<> remove_any(const std::string& path, bool files_too) {
    if (has_nul(path)) return path_error("unlinkat", path, EINVAL);
    SplitPath split = split_path(path);
    if (split.leaf.empty()) return path_error("RemoveAll", path, path.empty() ? EINVAL : EPERM);
    if (split.leaf == "." || split.leaf == "..") return path_error("RemoveAll", path, EINVAL);

    // As in the errors of Go: without the slash.
    std::string parent_path = openable(split.directory);
    if (parent_path.find_last_not_of('/') != std::string::npos) {
        parent_path.resize(parent_path.find_last_not_of('/') + 1);
    }
    UniqueFd parent = open_directory(AT_FDCWD, split.directory);
    if (!parent) {
        int error = errno;
        if (error == ENOENT) return {};
        if (error == ENOTDIR) return path_error("unlinkat", path, error);
        return path_error("open", parent_path, error);
    }
    struct stat info {};
    if (::fstatat(parent.get(), split.leaf.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
        int error = errno;
        if (error == ENOENT) return {};
        return error == EACCES ? path_error("open", parent_path, error) : path_error("unlinkat", path, error);
    }
    if (S_ISDIR(info.st_mode)) return remove_tree_at(parent.get(), split.leaf, path);
    if (!S_ISLNK(info.st_mode) && (!files_too || split.trailing_slash)) {
        return path_error("unlinkat", path, ENOTDIR);
    }
    if (::unlinkat(parent.get(), split.leaf.c_str(), 0) != 0 && errno != ENOENT) {
        return path_error("unlinkat", path, errno);
    }
    return {};
}

}  // namespace

Result<> delete_file(const std::string& path) {
    if (has_nul(path)) return path_error("remove", path, EINVAL);
    if (::unlink(path.c_str()) == 0) return {};
    int error = errno;
    // Linux says EISDIR, POSIX EPERM. The last component "." can't be removed as a directory either.
    struct stat info {};
    if (error == EPERM && ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) error = EISDIR;
    if (error == EISDIR && split_path(path).leaf == ".") error = EINVAL;
    return path_error("remove", path, error);
}

Result<> delete_dir(const std::string& path) { return remove_any(path, false); }

Result<> remove_all(const std::string& path) { return remove_any(path, true); }

}  // namespace sandbox::files
