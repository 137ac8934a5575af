#pragma once
// Whose file a filesystem call means, and which.

#include <string>

#include "e2b/user_paths.hpp"

namespace sandbox::e2b {

struct PathContext {
    User user;
    std::string path;  // absolute
};

// Blocking. unauthenticated for an unknown account, invalid_argument for somebody else's home.
Reply<PathContext> settle_path(const Caller& caller, const std::string& path);

}  // namespace sandbox::e2b
