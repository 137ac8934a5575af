#pragma once
// Who may use the envd API: whoever has the access token, in a header or, for files, as a signature.

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/secret.hpp"
#include "net/exchange.hpp"
#include "net/router.hpp"

namespace sandbox::e2b {

// Loop thread. Keeps the token itself, in one buffer that is wiped when it changes or goes: the token is the
// tail of what is hashed into a signature, so no digest of it would do.
class Access {
  public:
    // Without a token there is either `fallback`, which says whether a token is right (pool mode, where the
    // sandbox secret is known by its digest alone; signatures are then refused), or everything is open until
    // set_token(), to programs of this machine: see is_from_elsewhere().
    explicit Access(std::string_view token, std::function<bool(const std::string&)> fallback = nullptr);
    ~Access();
    Access(const Access&) = delete;
    Access& operator=(const Access&) = delete;

    bool is_open() const { return token_.empty() && !fallback_; }
    bool matches(const std::string& token) const;
    void set_token(std::string_view token);

    // What a guard says to a request. /health needs nothing; nor does /init with `init_checks_itself`, as its
    // token may be in its body.
    std::optional<net::Denial> check(const net::Request& request, bool init_checks_itself) const;
    // Whether GET or POST /files carries a valid signature; else why not.
    std::optional<std::string> signature_fault(const net::Request& request) const;

  private:
    std::string token_;
    std::function<bool(const std::string&)> fallback_;
};

// Whether a request was made by a web page that is not of this machine: its Origin is not a loopback one, or
// its Host is a domain name, which was made to point here (DNS rebinding). Programs send no Origin, and call
// us by address or as localhost.
bool is_from_elsewhere(const net::Request& request);

// {"message":…,"code":…}, the errors of everything that is no RPC.
std::string rest_error_json(int status, std::string_view message);

inline constexpr const char* kLocalOnly =
    "without an access token this API is for programs of this machine: it takes no request of a web page of "
    "another origin, nor under a domain name";
inline constexpr const char* kUnauthorized =
    "unauthorized access, please provide a valid access token or method signing if supported";

}  // namespace sandbox::e2b
