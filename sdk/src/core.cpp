#include "core.hpp"

#include <utility>

#include "codec.hpp"
#include "koyeb/sandbox/errors.hpp"

namespace koyeb::sandbox {
namespace {

// How long after a command's own time limit the request is given up: the daemon ends the tree in that time.
constexpr Seconds kGrace{10};

}  // namespace

ClientCore::ClientCore(boost::asio::any_io_executor executor, ConnectionInfo info)
    : executor_(executor), info_(std::move(info)), transport_(std::move(executor), info_) {}

HttpRequest ClientCore::base(std::string method, std::string target) const {
    HttpRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    if (!info_.secret.empty()) request.headers.emplace_back("Authorization", "Bearer " + info_.secret);
    if (!info_.routing_key.empty()) request.headers.emplace_back("X-Routing-Key", info_.routing_key);
    request.patience = patience();
    return request;
}

HttpRequest ClientCore::get(std::string target) const {
    HttpRequest request = base("GET", std::move(target));
    request.repeatable = true;
    return request;
}

HttpRequest ClientCore::post(std::string target, std::string body, std::string type) const {
    HttpRequest request = base("POST", std::move(target));
    request.headers.emplace_back("Content-Type", std::move(type));
    request.body = std::move(body);
    request.has_body = true;
    return request;
}

Awaitable<HttpExchange> ClientCore::open(HttpRequest request) {
    Seconds wait = info_.retry_backoff;
    for (int attempt = 0;; ++attempt) {
        HttpRequest copy = request;
        HttpExchange exchange = co_await transport_.send(std::move(copy));
        if (exchange.status() != 503 || attempt >= info_.retries) co_return exchange;
        co_await exchange.read_all();
        co_await Transport::pause(wait);
        wait *= 2;
    }
}

Awaitable<Answer> ClientCore::call(HttpRequest request) {
    HttpExchange exchange = co_await open(std::move(request));
    Answer answer;
    answer.status = exchange.status();
    answer.body = co_await exchange.read_all();
    co_return answer;
}

Patience command_patience(const std::optional<Seconds>& timeout) {
    Patience patience;
    if (timeout) patience.deadline = Clock::now() + to_duration(*timeout + kGrace);
    return patience;
}

void check_start(int status, std::string_view body) {
    if (status == 400 || status == 500) throw SandboxCommandError(codec::error_text(body));
    check_status(status, body);
}

void check_status(int status, std::string_view body) {
    if (status >= 200 && status < 300) return;
    std::string text = codec::error_text(body);
    if (text.empty()) text = "HTTP status " + std::to_string(status);
    throw SandboxServiceError(status, text);
}

}  // namespace koyeb::sandbox
