#pragma once
// Who may use the envd listener: whoever has the access token, in a header or, for files, as a signature.

#include <functional>
#include <optional>
#include <string>

#include "base/secret.hpp"
#include "net/exchange.hpp"
#include "net/router.hpp"

namespace sandbox::e2b {

// Loop thread. Keeps the token itself, because signatures are made with it.
class Access {
  public:
    // Without a token there is either `fallback`, which says whether a token is right (pool mode, where the
    // sandbox secret is known by its digest alone; signatures are then refused), or everything is open until
    // set_token().
    explicit Access(std::string token, std::function<bool(const std::string&)> fallback = nullptr);

    bool is_open() const { return token_.empty() && !fallback_; }
    bool matches(const std::string& token) const;
    void set_token(std::string token);

    // What a guard says to a request. /health needs nothing; nor does /init with `init_checks_itself`, as its
    // token may be in its body.
    std::optional<net::Denial> check(const net::Request& request, bool init_checks_itself) const;
    // Whether GET or POST /files carries a valid signature; else why not.
    std::optional<std::string> signature_fault(const net::Request& request) const;

  private:
    std::string token_;
    std::function<bool(const std::string&)> fallback_;
};

// {"message":…,"code":…}, the errors of everything that is no RPC.
std::string rest_error_json(int status, std::string_view message);

inline constexpr const char* kUnauthorized =
    "unauthorized access, please provide a valid access token or method signing if supported";

}  // namespace sandbox::e2b
