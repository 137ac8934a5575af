#include "net/router.hpp"

#include <algorithm>

namespace sandbox::net {

Router::Router(std::vector<std::string> prefixes) : prefixes_(std::move(prefixes)) {}

void Router::add(Route route) {
    index_.emplace(route.path, routes_.size());
    routes_.push_back(std::move(route));
}

Router::Match Router::find(std::string_view path) const {
    auto look_up = [this](std::string_view bare) -> Match {
        auto found = index_.find(std::string(bare));
        if (found == index_.end()) return {};
        return {&routes_[found->second], found->second, found->first};
    };
    Match match = look_up(path);
    for (const std::string& prefix : prefixes_) {
        if (match.route != nullptr) break;
        if (path.size() > prefix.size() && path.starts_with(prefix) && path[prefix.size()] == '/') {
            match = look_up(path.substr(prefix.size()));
        }
    }
    return match;
}

bool Router::allows(const Route& route, Method method) {
    auto has = [&](Method m) {
        return std::find(route.methods.begin(), route.methods.end(), m) != route.methods.end();
    };
    return has(method) || (method == Method::head && has(Method::get));
}

std::string Router::allowed(const Route& route) {
    std::string list;
    for (Method method : route.methods) {
        if (!list.empty()) list += ", ";
        switch (method) {
            case Method::get:
                list += "GET, HEAD";
                break;
            case Method::post:
                list += "POST";
                break;
            case Method::put:
                list += "PUT";
                break;
            case Method::delete_:
                list += "DELETE";
                break;
            default:
                list += "OPTIONS";
                break;
        }
    }
    return list;
}

}  // namespace sandbox::net
