#pragma once
// Request heads and chunked bodies by Boost.Beast's parser, fed from memory: no I/O here. The rules that
// Beast leaves open (RFC 9112: folded headers, bare LF, Host) are checked beside it.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "net/exchange.hpp"

namespace sandbox::net {

// What is wrong with a request that cannot be served, as status line and text.
struct BadRequest {
    int status = 400;
    std::string message = "Bad Request";
};

struct RequestHead {
    Request request;
    std::string target;  // as sent
    bool expects_continue = false;
    bool bad_expectation = false;  // an Expect other than 100-continue
};

// The end of the head in `bytes`: one past its blank line, or npos. A bare LF counts as an end too, so that a
// request with one is refused at once and not waited on.
std::size_t find_head_end(std::string_view bytes, std::size_t search_from);

// Parses a complete head. The request's path is raw here: routing decodes it.
boost::system::result<RequestHead, BadRequest> parse_head(std::string_view head);

// Decodes the body of a "Transfer-Encoding: chunked" request.
class ChunkedBody {
  public:
    // The extensions of a chunk may be `line_limit` bytes, and so may the last chunk's line with the
    // trailers: however they arrive. More of them is bad framing also while they go on.
    explicit ChunkedBody(std::size_t line_limit = 64 * 1024);
    ~ChunkedBody();

    // Takes what it can of `bytes`, appends decoded content to `out`, and returns how much was taken; done()
    // tells whether the end was among it. Bad framing is invalid_argument; too_large as soon as the sizes of
    // the chunks say that the content will be more than `limit` bytes (0: any size).
    Result<std::size_t> feed(std::string_view bytes, std::string& out, std::uint64_t limit = 0);
    bool done() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sandbox::net
