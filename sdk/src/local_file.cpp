#include "local_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <random>
#include <system_error>
#include <utility>

#include "koyeb/sandbox/errors.hpp"

namespace koyeb::sandbox {
namespace {

// A name beside `path` that nobody else uses; "" when that is to be written in place.
std::string staging_name(const std::string& path) {
    std::error_code not_there;
    const auto kind = std::filesystem::status(path, not_there).type();
    if (kind != std::filesystem::file_type::not_found && kind != std::filesystem::file_type::regular)
        return {};
    static constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789";
    std::random_device device;
    std::uniform_int_distribution<std::size_t> pick(0, kLetters.size() - 1);
    std::string tail = ".";
    for (int i = 0; i < 12; ++i) tail += kLetters[pick(device)];
    const std::size_t slash = path.rfind('/');
    const std::size_t name = slash == std::string::npos ? 0 : slash + 1;
    return path.substr(0, name) + "." + path.substr(name) + tail + ".part";
}

// A file without a name where `staged` is to be, or -1. It wants /proc to get its name.
int open_nameless(const std::string& staged) {
    if (staged.empty() || ::access("/proc/self/fd", X_OK) != 0) return -1;
    const std::size_t slash = staged.rfind('/');
    const std::string directory = slash == std::string::npos ? "." : staged.substr(0, slash + 1);
    return ::open(directory.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
}

}  // namespace

LocalFile::LocalFile(const std::string& path, int flags)
    : path_(path), fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (fd_ < 0) fail("open", errno);
}

LocalFile::LocalFile(std::string path, Opened opened) : path_(std::move(path)), fd_(opened.fd) {
    if (fd_ < 0) fail("open", errno);
}

LocalFile::~LocalFile() {
    if (fd_ >= 0) ::close(fd_);
}

struct stat LocalFile::info() const {
    struct stat info = {};
    if (::fstat(fd_, &info) != 0) fail("stat", errno);
    if (S_ISDIR(info.st_mode)) fail("read", EISDIR);
    return info;
}

void LocalFile::set_mode(unsigned mode) {
    if (::fchmod(fd_, mode) != 0) fail("chmod", errno);
}

std::string LocalFile::read(std::size_t length) {
    std::string bytes(length, '\0');
    std::size_t got = 0;
    while (got < length) {
        const ssize_t n = ::read(fd_, bytes.data() + got, length - got);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail("read", errno);
        if (n == 0) break;
        got += static_cast<std::size_t>(n);
    }
    bytes.resize(got);
    return bytes;
}

bool LocalFile::rewind() { return ::lseek(fd_, 0, SEEK_SET) == 0; }

void LocalFile::write(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail("write", errno);
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
}

void LocalFile::link(const std::string& name) {
    const std::string self = "/proc/self/fd/" + std::to_string(fd_);
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0) fail("link", errno);
}

void LocalFile::close() {
    const int fd = std::exchange(fd_, -1);
    if (::close(fd) != 0) fail("close", errno);
}

void LocalFile::fail(const char* operation, int error) const {
    const std::string text =
        std::string(operation) + " " + path_ + ": " + std::generic_category().message(error);
    if (error == ENOENT) throw SandboxFileNotFoundError(text);
    if (error == EEXIST) throw SandboxFileExistsError(text);
    throw SandboxFilesystemError(text);
}

StagedFile::StagedFile(std::string path)
    : path_(std::move(path)), staged_(staging_name(path_)), file_(path_, open_file()) {}

StagedFile::~StagedFile() {
    if (!staged_.empty() && !nameless_) ::unlink(staged_.c_str());
}

LocalFile::Opened StagedFile::open_file() {
    if (staged_.empty()) return {::open(path_.c_str(), O_WRONLY | O_CLOEXEC)};
    const int fd = open_nameless(staged_);
    nameless_ = fd >= 0;
    return {nameless_ ? fd : ::open(staged_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)};
}

void StagedFile::set_mode(unsigned mode) {
    if (!staged_.empty()) file_.set_mode(mode);
}

void StagedFile::finish() {
    if (nameless_) {
        file_.link(staged_);
        nameless_ = false;
    }
    file_.close();
    if (staged_.empty()) return;
    if (::rename(staged_.c_str(), path_.c_str()) != 0)
        throw SandboxFilesystemError("rename " + path_ + ": " + std::generic_category().message(errno));
    staged_.clear();
}

}  // namespace koyeb::sandbox
