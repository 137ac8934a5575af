#include "e2b/user_paths.hpp"

#include <unistd.h>

#include "base/base64.hpp"
#include "base/credentials.hpp"
#include "base/url.hpp"

namespace sandbox::e2b {
namespace {

std::optional<std::string> basic_user(const net::Request& request) {
    auto encoded = credentials(request.header("authorization"), "basic");
    if (!encoded) return std::nullopt;
    Result<std::string> decoded = base64_decode(*encoded);
    if (!decoded) return std::nullopt;
    return decoded->substr(0, decoded->find(':'));
}

Caller make_caller(std::optional<std::string> name, const Settings& settings) {
    Caller caller;
    caller.name = std::move(name);
    caller.default_user = settings.default_user;
    caller.default_workdir = settings.default_workdir;
    return caller;
}

}  // namespace

bool is_legacy_client(const net::Request& request) {
    const std::string* agent = request.header("user-agent");
    return agent != nullptr && *agent == "connect-python";
}

Caller rpc_caller(const net::Request& request, const Settings& settings) {
    Caller caller = make_caller(basic_user(request), settings);
    caller.legacy = is_legacy_client(request);
    return caller;
}

Caller rest_caller(const net::Request& request, const Settings& settings) {
    std::optional<std::string> name = request.query("username");
    if (name && name->empty()) name.reset();
    return make_caller(std::move(name), settings);
}

std::optional<User> find_account(const Caller& caller) {
    Accounts accounts = Accounts::load();
    if (caller.name || !caller.default_user.empty()) {
        const std::string& name = caller.name ? *caller.name : caller.default_user;
        std::optional<User> user = accounts.find_user(name);
        // By name only, so that a number is not taken for an account that nobody made.
        if (user && (user->name == name && (user->listed || name == "root"))) return user;
        return std::nullopt;
    }
    if (std::optional<User> user = accounts.find_user("user"); user && user->listed) return user;
    return accounts.find_user(std::to_string(::geteuid()));
}

ConnectError unknown_user(const Caller& caller) {
    return {Code::unauthenticated, "invalid username: '" + caller.name.value_or(caller.default_user) + "'"};
}

Result<std::string> resolve_path(std::string_view path, const User& user, const Caller& caller) {
    if (path.empty() && caller.default_workdir.empty()) return user.home;
    if (path.empty()) path = caller.default_workdir;
    if (path.starts_with('/')) return std::string(path);
    if (path == "~") return user.home;
    if (path.starts_with("~/")) return clean_path(user.home + std::string(path.substr(1)));
    if (path.starts_with('~')) {
        return Error{
            Errc::invalid_argument,
            "failed to resolve path '" + std::string(path) + "': cannot expand user-specific home dir", 0};
    }
    return clean_path(user.home + "/" + std::string(path));
}

Reply<PathContext> settle_path(const Caller& caller, const std::string& path) {
    std::optional<User> user = find_account(caller);
    if (!user) return unknown_user(caller);
    Result<std::string> resolved = resolve_path(path, *user, caller);
    if (!resolved) return to_connect_error(resolved.error());
    PathContext settled;
    settled.user = std::move(*user);
    settled.path = std::move(*resolved);
    return settled;
}

}  // namespace sandbox::e2b
