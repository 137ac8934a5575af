#pragma once
// What a handler sees of HTTP: one request and the answer to it. The connection behind it is http_session's.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "platform/blocking_pool.hpp"
#include "platform/loop.hpp"

namespace sandbox::net {

enum class Method : std::uint8_t { get, head, post, put, delete_, options, other };

struct Request {
    Method method = Method::other;
    std::string method_text;
    std::string path;       // percent-decoded, without the query and without a mount prefix
    std::string raw_query;  // behind the '?', undecoded
    unsigned version = 11;  // 10 or 11
    bool keep_alive = true;
    std::optional<std::uint64_t> content_length;  // absent when chunked or without a body
    bool chunked = false;
    std::vector<std::pair<std::string, std::string>> headers;  // names in lower case, in order

    // The first header of that name (lower case), or null.
    const std::string* header(std::string_view name) const;
    // The first query parameter of that name, decoded; absent when there is none.
    std::optional<std::string> query(std::string_view name) const;
};

struct Header {
    std::string_view name;
    std::string_view value;
};
using HeaderList =
    std::vector<Header>;  // a named one: no braces within a co_await expression (see platform/loop.hpp)

// Loop thread. Lives as long as the handler's task. Every writing call tells whether the peer is still there:
// false means gone (closed, reset, or timed out), and all later calls return false at once. An answer that
// was cut short closes the connection.
class Exchange {
  public:
    virtual ~Exchange() = default;

    virtual const Request& request() const = 0;

    // The next piece of the body; empty at its end; valid until the next call. Errors: too_large (over the
    // limit), invalid_argument (bad framing), cancelled (the peer is gone). Sends "100 Continue" first when
    // it was asked for.
    virtual Task<Result<std::string_view>> read_body() = 0;
    // The same, and what comes from the socket only now may be received straight into `room`, so that it need
    // not be copied there: the piece then begins where `room` does. `room` may be empty; it must stay valid
    // until this is over.
    virtual Task<Result<std::string_view>> read_body_into(std::span<char> /*room*/) { return read_body(); }
    // Raises or lifts (0) the limit for this request's body.
    virtual void limit_body(std::uint64_t bytes) = 0;
    // No timeout between pieces of this body from now on.
    virtual void wait_for_body() = 0;

    // A whole answer. For HEAD the body is left out, its length told. Headers are taken at the call, not at
    // the await.
    virtual Task<bool> respond(int status, std::string_view content_type, std::string body,
                               HeaderList headers = {}) = 0;

    // An answer in pieces: head now, then write() as often as wanted, then finish(). Chunked, or until the
    // end of the connection for HTTP/1.0; with a length when `length` is given.
    virtual Task<bool> begin(int status, std::string_view content_type, HeaderList headers = {},
                             std::optional<std::uint64_t> length = std::nullopt) = 0;
    // One write is one chunk. Suspends while the peer does not read: back-pressure.
    virtual Task<bool> write(std::string_view bytes) = 0;
    // `length` bytes of a regular file from `offset`, by sendfile(2) on a thread of `pool`: the file system
    // may be slow or hang. A file that is shorter by then ends the connection.
    virtual Task<bool> write_file(BlockingPool& pool, int fd, std::uint64_t offset, std::uint64_t length) = 0;
    virtual Task<bool> finish() = 0;
    // Ends the connection without finishing the answer, so that the peer can tell that it is cut.
    virtual void abort() = 0;

    virtual bool answered() const = 0;  // a head has been sent
    virtual bool peer_gone() const = 0;

    // From now until the handler ends, `gone` runs once when the peer closes (its side of) the connection,
    // resets it, or stops answering. Pipelined bytes are no disconnect. The body must have been read.
    virtual void watch_disconnect(std::function<void()> gone) = 0;
};

// An error answer: JSON {"error": message}.
Task<bool> respond_error(Exchange& exchange, int status, std::string_view message, HeaderList headers = {});

}  // namespace sandbox::net
