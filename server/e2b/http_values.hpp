#pragma once
// Values of HTTP headers that only this dialect needs. Pure functions.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sandbox::e2b {

bool equal_ignoring_case(std::string_view a, std::string_view b);

// "form-data; name=\"file\"; filename*=UTF-8''a%20b": a value and its parameters (RFC 9110 5.6.6, RFC 8187).
struct HeaderValue {
    std::string value;                                            // in lower case
    std::vector<std::pair<std::string, std::string>> parameters;  // names in lower case, values unescaped

    const std::string* parameter(std::string_view name) const;
};
// Lenient: what cannot be read ends the list. In quotes a backslash escapes only '"' and '\\', as in Go.
HeaderValue parse_header_value(std::string_view text);

// "inline; filename=a.txt", quoted or extended where the name wants that.
std::string inline_disposition(std::string_view filename);

// By the name's extension, else by a look at the first bytes.
std::string guess_content_type(std::string_view filename, std::string_view first_bytes);

// Whether an Accept-Encoding (RFC 9110 12.5.3) allows a coding. `header` null: everything is.
bool accepts_encoding(const std::string* header, std::string_view coding);

// How to send a file to a client with this Accept-Encoding. As it is where that is allowed, because then the
// kernel sends it; but a client that names gzip and nothing else asks for it. (HTTP libraries name several
// codings by themselves, in every request.)
enum class Coding {
    identity,
    gzip,
    none,  // the client takes neither
};
Coding choose_coding(const std::string* accept_encoding);

struct ByteRange {
    std::uint64_t first = 0;
    std::uint64_t length = 0;
};
enum class RangeKind { none, satisfiable, unsatisfiable };
// A single range of a Range header (RFC 9110 14.1) in `size` bytes. Several ranges and malformed ones count
// as none, which the RFC allows.
std::pair<RangeKind, ByteRange> parse_range(std::string_view header, std::uint64_t size);

}  // namespace sandbox::e2b
