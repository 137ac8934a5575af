#pragma once
// From path and method to a handler.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "net/exchange.hpp"

namespace sandbox::net {

using Handler = std::function<Task<>(Exchange&)>;

struct Route {
    std::string path;             // exact, without a mount prefix
    std::vector<Method> methods;  // HEAD is allowed where GET is
    bool open = false;            // answered without the secret
    Handler handler;
};

// What a guard answers instead of the handler.
struct Denial {
    int status = 401;
    std::string message;
    std::string json;  // the whole body, where {"error": message} is not what the client looks for
};

// One listener's table. Built at start, constant afterwards.
class Router {
  public:
    // `prefixes`: mount points under which every path answers too, such as "/koyeb-sandbox".
    explicit Router(std::vector<std::string> prefixes = {});

    void add(Route route);

    struct Match {
        const Route* route = nullptr;  // null: no such path
        std::size_t index = 0;         // of the route, for counters
        std::string path;              // without the prefix
    };
    // `path` is decoded and canonical.
    Match find(std::string_view path) const;

    static bool allows(const Route& route, Method method);
    // The value of an Allow header: "GET, HEAD".
    static std::string allowed(const Route& route);

    const std::vector<Route>& routes() const { return routes_; }

  private:
    std::vector<std::string> prefixes_;
    std::vector<Route> routes_;
    std::unordered_map<std::string, std::size_t> index_;
};

}  // namespace sandbox::net
