#include "e2b/access.hpp"

#include <charconv>
#include <chrono>

#include "base/base64.hpp"
#include "base/json_writer.hpp"
#include "base/sha256.hpp"

namespace sandbox::e2b {
namespace {

net::Denial unauthorized(std::string_view message) {
    net::Denial denial;
    denial.message = message;
    denial.json = rest_error_json(denial.status, message);
    return denial;
}

bool equal(std::string_view a, std::string_view b) { return equal_constant_time(sha256(a), sha256(b)); }

}  // namespace

std::string rest_error_json(int status, std::string_view message) {
    std::string body;
    JsonWriter(body).begin_object().member("message", message).member("code", status).end_object();
    return body;
}

Access::Access(std::string token, std::function<bool(const std::string&)> fallback)
    : token_(std::move(token)), fallback_(std::move(fallback)) {}

bool Access::matches(const std::string& token) const {
    if (token.empty()) return false;
    if (token_.empty()) return fallback_ && fallback_(token);
    return equal(token, token_);
}

void Access::set_token(std::string token) { token_ = std::move(token); }

std::optional<net::Denial> Access::check(const net::Request& request, bool init_checks_itself) const {
    if (is_open() || request.path == "/health") return std::nullopt;
    if (init_checks_itself && request.path == "/init") return std::nullopt;
    const std::string* token = request.header("x-access-token");
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
    std::string text = request.query("path").value_or("");
    text.append(reading ? ":read:" : ":write:").append(request.query("username").value_or(""));
    text.append(":").append(token_);
    std::optional<std::string> expiration = request.query("signature_expiration");
    if (expiration && expiration->empty()) expiration.reset();
    if (expiration) text.append(":").append(*expiration);
    Digest digest = sha256(text);
    wipe(text);
    std::string expected =
        base64_encode(std::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
    while (expected.ends_with('=')) expected.pop_back();
    if (!equal(*signature, "v1_" + expected)) return "invalid signature";
    if (!expiration) return std::nullopt;
    std::int64_t until = 0;
    const char* end = expiration->data() + expiration->size();
    auto [at, ec] = std::from_chars(expiration->data(), end, until);
    if (ec != std::errc() || at != end) return "invalid signature";
    auto now = std::chrono::system_clock::now().time_since_epoch();
    if (std::chrono::duration_cast<std::chrono::seconds>(now).count() > until)
        return "signature is already expired";
    return std::nullopt;
}

}  // namespace sandbox::e2b
