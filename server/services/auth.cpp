#include "services/auth.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/credentials.hpp"
#include "base/log.hpp"
#include "base/sha256.hpp"
#include "base/trim.hpp"
#include "base/unique_fd.hpp"
#include "base/uuid.hpp"

namespace sandbox {
namespace {

std::string directory_of(const std::string& path) {
    std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

void make_directories(const std::string& path) {
    for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
        ::mkdir(path.substr(0, slash).c_str(), 0700);
        if (slash == std::string::npos) return;
    }
}

// Whole or not at all, also across a power cut: staged, synced, renamed, directory synced.
Result<> store_secret(const std::string& path, const std::string& secret) {
    const std::string directory = directory_of(path);
    make_directories(directory);
    const std::string staged = directory + "/.sandbox-secret-" + uuid_v4();
    UniqueFd file(::open(staged.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) return sys_error("open " + staged, errno);
    auto give_up = [&](const char* what) {
        Error error = sys_error(std::string(what) + " " + staged, errno);
        ::unlink(staged.c_str());
        return error;
    };
    if (::write(file.get(), secret.data(), secret.size()) != static_cast<ssize_t>(secret.size()))
        return give_up("write");
    if (::fchmod(file.get(), 0600) != 0) return give_up("chmod");
    if (::fsync(file.get()) != 0) return give_up("sync");
    if (::rename(staged.c_str(), path.c_str()) != 0) return give_up("rename");
    UniqueFd parent(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (parent) ::fsync(parent.get());
    return Result<>();
}

}  // namespace

Auth::Auth(Loop& loop, BlockingPool& pool) : pool_(pool), claim_over_(loop) {}

Auth::Auth(Loop& loop, BlockingPool& pool, std::string& secret) : Auth(loop, pool) {
    digest_ = sha256(trimmed(secret));
    wipe(secret);
}

Result<std::unique_ptr<Auth>> Auth::pool_mode(Loop& loop, BlockingPool& pool, std::string path) {
    std::unique_ptr<Auth> auth(new Auth(loop, pool));
    make_directories(directory_of(path));
    UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file && errno != ENOENT) return sys_error("secret file " + path, errno);
    if (file) {
        std::string text(64 * 1024, '\0');
        ssize_t count = ::read(file.get(), text.data(), text.size());
        if (count < 0) return sys_error("secret file " + path, errno);
        text.resize(static_cast<std::size_t>(count));
        std::string_view secret = trimmed(text);
        if (secret.empty()) return Error{Errc::invalid_argument, "secret file \"" + path + "\" is empty", 0};
        auth->digest_ = sha256(secret);
        wipe(text);
    }
    auth->path_ = std::move(path);
    return auth;
}

Task<AuthVerdict> Auth::check(std::optional<std::string> token) {
    if (!token || token->empty()) co_return AuthVerdict::denied;
    while (claiming_) co_await claim_over_.wait();
    if (!digest_) co_return co_await claim(std::move(*token));
    Digest given = sha256(*token);
    wipe(*token);
    co_return equal_constant_time(given, *digest_) ? AuthVerdict::allowed : AuthVerdict::denied;
}

bool Auth::matches(std::string_view token) const {
    return digest_ && !token.empty() && equal_constant_time(sha256(token), *digest_);
}

Task<AuthVerdict> Auth::claim(std::string token) {
    claiming_ = true;
    auto job = [this, &token] { return store_secret(path_, token); };
    Result<> stored = co_await pool_.run(job);
    claiming_ = false;
    if (stored) digest_ = sha256(token);
    wipe(token);
    claim_over_.notify();
    if (!stored) {
        log::error("cannot store the claimed secret", {{"error", stored.error().message}});
        co_return AuthVerdict::claim_failed;
    }
    log::info("sandbox claimed");
    co_return AuthVerdict::allowed;
}

std::optional<std::string> bearer_token(const std::string* authorization) {
    std::optional<std::string_view> given = credentials(authorization, "bearer");
    if (!given) return std::nullopt;
    std::string token(*given);
    // A token with blanks around it would be trimmed when it is read back after a restart, and lock its owner
    // out.
    if (trimmed(token) != token) return std::nullopt;
    return token;
}

}  // namespace sandbox
