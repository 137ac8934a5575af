#pragma once
// Who may use the API: whoever knows the secret. Static mode has it from the start; in pool mode the first
// well-formed bearer token claims the sandbox and is kept on disk.

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/secret.hpp"
#include "platform/blocking_pool.hpp"
#include "platform/event.hpp"

namespace sandbox {

enum class AuthVerdict {
    allowed,
    denied,
    claim_failed,  // pool mode: the first claim could not be stored; nothing was claimed
};

// Loop thread. Keeps a digest, never the secret; comparison takes the same time wherever the first difference
// is.
class Auth {
  public:
    // Static mode. Wipes `secret`.
    Auth(Loop& loop, BlockingPool& pool, std::string& secret);
    // Pool mode: reads `path` if it is there. Blocks (start-up). Errors: unreadable, empty, a directory.
    static Result<std::unique_ptr<Auth>> pool_mode(Loop& loop, BlockingPool& pool, std::string path);

    // `token` is what came after "Bearer "; absent or empty is denied and claims nothing.
    Task<AuthVerdict> check(std::optional<std::string> token);
    // Whether it is the secret; claims nothing, so false before a claim.
    bool matches(std::string_view token) const;

  private:
    Auth(Loop& loop, BlockingPool& pool);
    Task<AuthVerdict> claim(std::string token);

    BlockingPool& pool_;
    Event claim_over_;
    bool claiming_ = false;
    std::string path_;
    std::optional<Digest> digest_;
};

// The token of an Authorization header of scheme Bearer; absent for anything else.
std::optional<std::string> bearer_token(const std::string* authorization);

}  // namespace sandbox
