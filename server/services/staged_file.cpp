#include "services/staged_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "services/filesystem_detail.hpp"

namespace sandbox::files::detail {

StagedFile::~StagedFile() {
    if (!name_.empty()) ::unlinkat(dir_, name_.c_str(), 0);
}

int StagedFile::create(int dir, const std::string& leaf, mode_t mode) {
    dir_ = dir;
    leaf_ = leaf;
    fd_ = open_at(dir, ".", O_TMPFILE | O_WRONLY, mode);
    if (fd_) return 0;
    std::string name = staging_name(leaf);
    fd_ = open_at(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
    if (!fd_) return errno;
    name_ = std::move(name);
    return 0;
}

int StagedFile::adopt(int dir, const std::string& leaf, int file) {
    dir_ = dir;
    leaf_ = leaf;
    fd_.reset(::fcntl(file, F_DUPFD_CLOEXEC, 4));
    return fd_ ? 0 : errno;
}

int StagedFile::publish_new(bool by_rename) {
    if (by_rename) {
        if (int error = take_staging_name(); error != 0) return error;
    }
    if (int error = name_.empty() ? link_as(leaf_) : rename_as(RENAME_NOREPLACE); error != 0) return error;
    return close();
}

int StagedFile::publish_over() {
    if (int error = take_staging_name(); error != 0) return error;
    if (int error = close(); error != 0) return error;
    return rename_as(0);
}

int StagedFile::take_staging_name() {
    if (!name_.empty()) return 0;
    std::string name = staging_name(leaf_);
    if (int error = link_as(name); error != 0) return error;
    name_ = std::move(name);
    return 0;
}

int StagedFile::link_as(const std::string& name) const {
    if (::linkat(fd_.get(), "", dir_, name.c_str(), AT_EMPTY_PATH) == 0) return 0;
    if (errno == EEXIST) return EEXIST;
    // The other way for those without CAP_DAC_READ_SEARCH.
    std::string path = "/proc/self/fd/" + std::to_string(fd_.get());
    return ::linkat(AT_FDCWD, path.c_str(), dir_, name.c_str(), AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
}

int StagedFile::rename_as(unsigned flags) {
    if (::renameat2(dir_, name_.c_str(), dir_, leaf_.c_str(), flags) != 0) {
        if (flags != RENAME_NOREPLACE || errno == EEXIST) return errno;
        // A file system without the flag can link, or else just rename.
        if (::linkat(dir_, name_.c_str(), dir_, leaf_.c_str(), 0) == 0) {
            ::unlinkat(dir_, name_.c_str(), 0);
        } else if (errno == EEXIST) {
            return EEXIST;
        } else if (::renameat(dir_, name_.c_str(), dir_, leaf_.c_str()) != 0) {
            return errno;
        }
    }
    name_.clear();
    return 0;
}

// Network and FUSE file systems tell of a full disk only now.
int StagedFile::close() {
    int fd = fd_.release();
    return fd < 0 || ::close(fd) == 0 || errno == EINTR ? 0 : errno;
}

int Reservation::take(int fd, std::uint64_t length) {
    struct stat info {};
    if (length == 0 || ::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return 0;
    blocks_ = info.st_blocks;
    int error = 0;
    do {
        const auto count = static_cast<off_t>(length);
        error = ::fallocate(fd, FALLOC_FL_KEEP_SIZE, info.st_size, count) == 0 ? 0 : errno;
    } while (error == EINTR);
    // Of what was refused a part may have been reserved.
    fd_ = fd;
    if (error == 0) return 0;
    give_back();
    return error == ENOSPC || error == EDQUOT || error == EFBIG ? error : 0;
}

void Reservation::give_back() {
    struct stat info {};
    if (fd_ < 0 || ::fstat(fd_, &info) != 0 || info.st_blocks == blocks_) return;
    (void)!::ftruncate(fd_, info.st_size);  // Takes the blocks behind the end, which is where it is.
}

}  // namespace sandbox::files::detail
