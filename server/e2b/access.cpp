#include "e2b/access.hpp"

#include <arpa/inet.h>

#include <chrono>

#include "base/base64.hpp"
#include "base/json_writer.hpp"
#include "base/number.hpp"
#include "base/sha256.hpp"

namespace sandbox::e2b {
namespace {

net::Denial denied(int status, std::string_view message) {
    net::Denial denial;
    denial.status = status;
    denial.message = message;
    denial.json = rest_error_json(denial.status, message);
    return denial;
}

net::Denial unauthorized(std::string_view message) { return denied(401, message); }

// "host:port", "[address]:port" or either without a port: the host without brackets.
std::string host_of(std::string_view authority) {
    if (authority.starts_with('[')) return std::string(authority.substr(1, authority.find(']') - 1));
    return std::string(authority.substr(0, authority.find(':')));
}

bool is_localhost(std::string_view host) { return host == "localhost" || host.ends_with(".localhost"); }

bool is_address(const std::string& host) {
    in6_addr address{};
    return ::inet_pton(AF_INET, host.c_str(), &address) == 1 ||
           ::inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

bool is_loopback(const std::string& host) {
    return is_localhost(host) || host == "::1" || (host.starts_with("127.") && is_address(host));
}

bool equal(std::string_view a, std::string_view b) { return equal_constant_time(sha256(a), sha256(b)); }

}  // namespace

std::string rest_error_json(int status, std::string_view message) {
    std::string body;
    JsonWriter(body).begin_object().member("message", message).member("code", status).end_object();
    return body;
}

bool is_from_elsewhere(const net::Request& request) {
    if (const std::string* origin = request.header("origin")) {
        std::size_t scheme = origin->find("://");
        if (scheme == std::string::npos) return true;  // "null", of a page without an origin
        if (!is_loopback(host_of(std::string_view(*origin).substr(scheme + 3)))) return true;
    }
    const std::string* host = request.header("host");
    if (host == nullptr) return false;  // HTTP/1.0, which no browser speaks
    std::string name = host_of(*host);
    const bool public_name = name.find('.') != std::string::npos;  // others cannot be bought
    return public_name && !is_localhost(name) && !is_address(name);
}

Access::Access(std::string_view token, std::function<bool(const std::string&)> fallback)
    : token_(token), fallback_(std::move(fallback)) {}

Access::~Access() { wipe(token_); }

bool Access::matches(const std::string& token) const {
    if (token.empty()) return false;
    if (token_.empty()) return fallback_ && fallback_(token);
    return equal(token, token_);
}

void Access::set_token(std::string_view token) {
    wipe(token_);
    token_ = token;
}

std::optional<net::Denial> Access::check(const net::Request& request, bool init_checks_itself) const {
    if (request.path == "/health") return std::nullopt;
    if (is_open()) {
        if (!is_from_elsewhere(request)) return std::nullopt;
        return denied(403, kLocalOnly);
    }
    if (init_checks_itself && request.path == "/init") return std::nullopt;
    const std::string* token = request.header("x-access-token");
    if (token != nullptr && token->empty()) token = nullptr;
    if (request.path == "/files") {
        if (token == nullptr) {
            std::optional<std::string> fault = signature_fault(request);
            return fault ? std::optional(unauthorized(*fault)) : std::nullopt;
        }
        if (!matches(*token)) return unauthorized("access token present in header but does not match");
        return std::nullopt;
    }
    if (token == nullptr || !matches(*token)) return unauthorized(kUnauthorized);
    return std::nullopt;
}

std::optional<std::string> Access::signature_fault(const net::Request& request) const {
    std::optional<std::string> signature = request.query("signature");
    if (!signature || signature->empty()) return "missing signature query parameter";
    if (token_.empty()) return "invalid signature";
    const bool reading = request.method == net::Method::get || request.method == net::Method::head;
    const std::string path = request.query("path").value_or("");
    const std::string user = request.query("username").value_or("");
    std::optional<std::string> expiration = request.query("signature_expiration");
    if (expiration && expiration->empty()) expiration.reset();
    std::string text;
    text.reserve(path.size() + user.size() + token_.size() + request.raw_query.size() +
                 16);  // one buffer, wiped
    text.append(path).append(reading ? ":read:" : ":write:").append(user).append(":").append(token_);
    if (expiration) text.append(":").append(*expiration);
    Digest digest = sha256(text);
    wipe(text);
    std::string expected =
        base64_encode(std::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
    while (expected.ends_with('=')) expected.pop_back();
    if (!equal(*signature, "v1_" + expected)) return "invalid signature";
    if (!expiration) return std::nullopt;
    const auto until = parse_number<std::int64_t>(*expiration);
    if (!until) return "invalid signature";
    auto now = std::chrono::system_clock::now().time_since_epoch();
    if (std::chrono::duration_cast<std::chrono::seconds>(now).count() > *until)
        return "signature is already expired";
    return std::nullopt;
}

}  // namespace sandbox::e2b
