#pragma once
// Whom a call is made for, and which file a path of its means.

#include <optional>
#include <string>
#include <string_view>

#include "e2b/connect_error.hpp"
#include "e2b/settings.hpp"
#include "net/exchange.hpp"
#include "platform/users.hpp"
#include "services/filesystem.hpp"

namespace sandbox::e2b {

// The account of a call: the name asked for, or the default. Copied out of Settings, so that a pool thread
// can use it.
struct Caller {
    std::optional<std::string> name;  // asked for
    std::string default_user;
    std::string default_workdir;
    bool legacy = false;  // one of the first SDKs: see EntryForm::brief
};

bool is_legacy_client(const net::Request& request);

// With the name of a Basic Authorization header, if there is one (its password is ignored).
Caller rpc_caller(const net::Request& request, const Settings& settings);
// With the query parameter "username".
Caller rest_caller(const net::Request& request, const Settings& settings);

// Blocking. Nothing for an account that does not exist.
std::optional<User> find_account(const Caller& caller);
// What a call says then.
ConnectError unknown_user(const Caller& caller);

// "" is the default directory, "~" the home; relative paths start at the home; absolute ones stay as they
// are. Error: invalid_argument for the home of somebody else.
Result<std::string> resolve_path(std::string_view path, const User& user, const Caller& caller);

struct PathContext {
    User user;
    std::string path;  // absolute
};
// The account of a call, and what a path means for it. Blocking. unauthenticated for an unknown account,
// invalid_argument for somebody else's home.
Reply<PathContext> settle_path(const Caller& caller, const std::string& path);

inline files::Owner owner_of(const User& user) { return files::Owner{user.uid, user.gid}; }

}  // namespace sandbox::e2b
