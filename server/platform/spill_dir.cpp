#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <vector>

#include "platform/spill_dir_impl.hpp"

namespace sandbox {
namespace {

UniqueFd open_directory(const std::string& path) {
    return UniqueFd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

bool out_of_descriptors(int error) { return error == EMFILE || error == ENFILE; }

// For file systems that have no O_TMPFILE.
UniqueFd create_and_unlink(int directory) {
    for (int attempt = 0; attempt < 16; ++attempt) {
        std::array<unsigned char, 12> noise{};
        if (::getrandom(noise.data(), noise.size(), 0) != static_cast<ssize_t>(noise.size()))
            return UniqueFd();
        std::string name = ".sandbox-spill-";
        for (unsigned char byte : noise) name += "0123456789abcdefghijklmnopqrstuv"[byte % 32];
        UniqueFd fd(
            ::openat(directory, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
        if (fd) {
            ::unlinkat(directory, name.c_str(), 0);
            return fd;
        }
        if (errno != EEXIST) return fd;
    }
    return UniqueFd();
}

// errno tells why when there is none.
UniqueFd create_in(int directory) {
    UniqueFd fd(::openat(directory, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
    // EISDIR is what kernels answer that do not know the flag.
    if (!fd && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL || errno == ENOSYS)) {
        fd = create_and_unlink(directory);
    }
    return fd;
}

bool lies_in_memory(int directory) {
    struct statfs info {};
    return ::fstatfs(directory, &info) == 0 && (info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC);
}

}  // namespace

SpillDir::Impl::Impl(const std::string& preferred, const std::string& tmpdir) {
    for (const std::string& chosen : {preferred, tmpdir}) {
        if (!chosen.empty()) candidates_.push_back({chosen, Candidate::Kind::any});
    }
    for (const char* path : {"/tmp", "/var/tmp", "/"}) candidates_.push_back({path, Candidate::Kind::disk});
    for (const char* path : {"/tmp", "/var/tmp", "/dev/shm"})
        candidates_.push_back({path, Candidate::Kind::any});
    find_directory();
}

UniqueFd SpillDir::Impl::find_directory() {
    for (const Candidate& candidate : candidates_) {
        UniqueFd directory = open_directory(candidate.path);
        if (!directory) continue;
        if (candidate.kind == Candidate::Kind::disk && lies_in_memory(directory.get())) continue;
        UniqueFd file = create_in(directory.get());
        if (!file) continue;
        directory_ = std::move(directory);
        chosen_ = &candidate;
        return file;
    }
    return UniqueFd();
}

bool SpillDir::Impl::on_disk() const {
    std::lock_guard lock(mutex_);
    return static_cast<bool>(directory_);
}

std::vector<std::string> SpillDir::Impl::paths() const {
    const Candidate* chosen = chosen_;
    if (chosen == nullptr) return {};
    return {chosen->path};
}

Result<SpillFile> SpillDir::Impl::open_file() {
    std::lock_guard lock(mutex_);
    if (directory_) {
        UniqueFd file = create_in(directory_.get());
        if (file) return SpillFile{std::move(file), false};
        if (out_of_descriptors(errno)) return sys_error("open temporary file", errno);
    }
    UniqueFd file = find_directory();
    if (file) return SpillFile{std::move(file), false};
    file.reset(::memfd_create("sandbox-spill", MFD_CLOEXEC));
    if (file) return SpillFile{std::move(file), true};
    return sys_error("memfd_create", errno);
}

bool SpillDir::Impl::reserve_memory(std::size_t bytes) {
    std::size_t used = memory_used_.load();
    do {
        if (bytes > kMemoryBudget - used) return false;
    } while (!memory_used_.compare_exchange_weak(used, used + bytes));
    return true;
}

void SpillDir::Impl::release_memory(std::size_t bytes) { memory_used_ -= bytes; }

bool SpillDir::Impl::reserve_large_pieces() {
    if (++large_spools_ <= kLargeSpools) return true;
    --large_spools_;
    return false;
}

SpillDir::SpillDir(const std::string& preferred, const std::string& tmpdir)
    : impl_(std::make_shared<Impl>(preferred, tmpdir)) {}
SpillDir::~SpillDir() = default;

bool SpillDir::on_disk() const { return impl_->on_disk(); }
std::vector<std::string> SpillDir::paths() const { return impl_->paths(); }
Result<SpillFile> SpillDir::open_file() { return impl_->open_file(); }
bool SpillDir::reserve_memory(std::size_t bytes) { return impl_->reserve_memory(bytes); }
void SpillDir::release_memory(std::size_t bytes) { impl_->release_memory(bytes); }

}  // namespace sandbox
