#pragma once
// The HTTP/1.1 server: connections, their deadlines and limits, and the road from a request to its handler.

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "net/exchange.hpp"
#include "net/router.hpp"

namespace sandbox::net {

struct HttpLimits {
    std::size_t head_bytes = 64 * 1024;
    std::uint64_t body_bytes = 1024ULL * 1024 * 1024;
    std::chrono::seconds head_time{30};   // from a request's first byte to the end of its head
    std::chrono::seconds body_time{60};   // without a single byte of a body that is awaited
    std::chrono::seconds idle_time{300};  // between requests
    std::size_t connections = 10'000;
};

struct HttpCounters {
    std::uint64_t accepted = 0;
    std::uint64_t active = 0;
    std::uint64_t refused = 0;  // over the connection limit
    std::uint64_t bytes_in = 0;
    std::uint64_t bytes_out = 0;
    std::vector<std::map<int, std::uint64_t>> by_route;  // [route index][status]
    std::map<int, std::uint64_t> no_route;
};

// Runs after routing and before method and body. Absent: let it pass.
using Guard = std::function<Task<std::optional<Denial>>(const Request&)>;

// Loop thread. Everything given must outlive it.
class HttpServer {
  public:
    HttpServer(Loop& loop, const Router& router, Guard guard, HttpLimits limits);
    ~HttpServer();
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    // Accepts on a listening socket until stop().
    void serve(UniqueFd listener);

    // Pages of any origin may call this server from a browser (CORS, https://fetch.spec.whatwg.org/): OPTIONS
    // is answered as a preflight, whatever the path and without the guard, and every answer may be read.
    // Before serve().
    void allow_any_origin();

    // From now on answers close their connection, idle connections are closed, and routes that are not open
    // answer 503; the listener stays.
    void drain();
    // Stops accepting and cuts every connection.
    void stop();

    std::size_t running_requests() const;
    const HttpCounters& counters() const;

    struct Impl;

  private:
    std::shared_ptr<Impl> impl_;
};

}  // namespace sandbox::net
