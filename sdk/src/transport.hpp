#pragma once
// HTTP/1.1: one request and its answer. With connection.cpp all that performs network operations. One thread
// at a time, as AsyncClient.

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "koyeb/sandbox/awaitable.hpp"
#include "koyeb/sandbox/types.hpp"
#include "url.hpp"

namespace koyeb::sandbox {

using Clock = std::chrono::steady_clock;

// For Asio's clocks, out of the way of overflow.
inline Clock::duration to_duration(Seconds time) {
    constexpr Seconds kLongest{1e9};
    return std::chrono::duration_cast<Clock::duration>(time < kLongest ? time : kLongest);
}

// How long an exchange may take. Absent: for ever.
struct Patience {
    std::optional<Seconds> silence;             // between bytes
    std::optional<Clock::time_point> deadline;  // of the whole
};

struct HttpRequest {
    std::string method;
    std::string target;  // behind the URL's prefix; starts with '/'
    std::vector<std::pair<std::string, std::string>> headers;
    std::string body;
    bool has_body = false;
    // Instead of `body`: the next piece of one whose size is not known; empty at its end. What it throws ends
    // the request. Such a request is never sent twice.
    std::function<std::string()> body_source;
    // It does no harm twice: sent again when a kept connection turns out to be closed.
    bool repeatable = false;
    Patience patience;
};

struct ConnectionPool;

// One answer. Destroying it before the end of the body closes the connection; after the end the connection is
// kept for the next request.
class HttpExchange {
  public:
    struct Impl;
    explicit HttpExchange(std::unique_ptr<Impl> impl);
    HttpExchange(HttpExchange&&) noexcept;
    HttpExchange& operator=(HttpExchange&&) noexcept;
    ~HttpExchange();

    int status() const;
    // The value of a header, or "".
    std::string header(const std::string& name) const;
    // The next piece of the body; empty at its end. Throws SandboxServiceError when the connection breaks
    // before.
    Awaitable<std::string> read_piece();
    // Other limits for what is still to come.
    void set_patience(Patience patience);
    // All of it.
    Awaitable<std::string> read_all();
    // Reads the rest away, so that the connection can be used again. For an answer of which all that counts
    // has come: that it breaks off now is no error.
    Awaitable<> drain();

  private:
    std::unique_ptr<Impl> impl_;
};

class Transport {
  public:
    Transport(boost::asio::any_io_executor executor, const ConnectionInfo& info);
    ~Transport();
    Transport(const Transport&) = delete;
    Transport& operator=(const Transport&) = delete;

    const Url& url() const { return url_; }
    // Sends the request and reads the head of the answer. Throws SandboxServiceError (status_code 0),
    // SandboxTimeoutError, and boost::system::system_error with operation_aborted when it was cancelled.
    Awaitable<HttpExchange> send(HttpRequest request);
    // Ends the awaiting coroutine's pause early when it is cancelled.
    static Awaitable<> pause(Seconds time);

  private:
    boost::asio::any_io_executor executor_;
    Url url_;
    std::shared_ptr<ConnectionPool> pool_;
};

}  // namespace koyeb::sandbox
