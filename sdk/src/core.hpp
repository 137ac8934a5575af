#pragma once
// What the clients share: the connection's facts, requests with their headers, retries.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "koyeb/sandbox/types.hpp"
#include "transport.hpp"

namespace koyeb::sandbox {

struct Answer {
    int status = 0;
    std::string body;
};

class ClientCore {
  public:
    ClientCore(boost::asio::any_io_executor executor, ConnectionInfo info);

    const ConnectionInfo& info() const { return info_; }
    const boost::asio::any_io_executor& executor() const { return executor_; }
    const Url& url() const { return transport_.url(); }

    HttpRequest get(std::string target) const;
    HttpRequest post(std::string target, std::string body, std::string type = "application/json") const;

    // The limits of a request that runs no command.
    Patience patience() const {
        Patience limits;
        limits.silence = info_.timeout;
        return limits;
    }
    // Sends, and again after a 503 as often as `info().retries` says.
    Awaitable<HttpExchange> open(HttpRequest request);
    // Sends, and takes a 503 as the answer.
    Awaitable<HttpExchange> send_once(HttpRequest request) { return transport_.send(std::move(request)); }
    // As open(), with the whole answer.
    Awaitable<Answer> call(HttpRequest request);

    std::optional<bool> extras;  // see AsyncClient::has_extras

  private:
    HttpRequest base(std::string method, std::string target) const;

    boost::asio::any_io_executor executor_;
    ConnectionInfo info_;
    Transport transport_;
};

// Limits of a request that lasts as long as a command.
Patience command_patience(const std::optional<Seconds>& timeout);

// As check_status(); a command that is refused or cannot be started is no fault of the service, but
// SandboxCommandError.
void check_start(int status, std::string_view body);

// Throws SandboxServiceError with the answer's text unless the status is 2xx.
void check_status(int status, std::string_view body);

}  // namespace koyeb::sandbox
