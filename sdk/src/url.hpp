#pragma once
// The URL of a sandbox, taken apart (RFC 3986, the http and https part that matters here).

#include <string>
#include <string_view>

namespace koyeb::sandbox {

struct Url {
    bool tls = false;
    std::string host;    // without brackets
    std::string port;    // decimal, the scheme's default filled in
    std::string prefix;  // path without its trailing slashes; empty or starting with '/'

    std::string host_header() const;  // as the Host header wants it: brackets back, default port left out
    std::string origin() const;       // scheme://host[:port]
};

// Throws SandboxError. No user information, query or fragment.
Url parse_url(std::string_view text);

// Percent-encodes all but the unreserved characters.
std::string percent_encode(std::string_view text);

}  // namespace koyeb::sandbox
