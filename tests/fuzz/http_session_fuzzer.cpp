// A whole connection: bytes into the real session over a socket pair, with a few handlers that show one thing
// each. What comes out is a sequence of answers, and the cuts do not matter.

#include "net/http_session.hpp"

#include <sys/socket.h>

#include <string>
#include <vector>

#include "fuzz/fuzz_input.hpp"
#include "support/http_answers.hpp"

using namespace sandbox;
using namespace sandbox::net;

namespace {

// The body, as its size and itself; told with a length.
Task<> echo(Exchange& exchange) {
    std::string body;
    std::string memory(7, '\0');  // for every other piece
    for (bool outside = false;; outside = !outside) {
        std::span<char> room;
        if (outside) room = memory;
        Result<std::string_view> piece = co_await exchange.read_body_into(room);
        if (!piece) {
            if (piece.error().code == Errc::too_large) {
                co_await respond_error(exchange, 413, "too large");
            } else if (piece.error().code != Errc::cancelled) {
                co_await respond_error(exchange, 400, "bad framing");
            }
            co_return;
        }
        if (piece->empty()) break;
        body += *piece;
    }
    std::string answer = std::to_string(body.size()) + ":" + body;
    co_await exchange.respond(200, "text/plain", std::move(answer));
}

// The path and query, piece by piece.
Task<> stream(Exchange& exchange) {
    bool alive = co_await exchange.begin(200, "text/plain");
    if (alive) alive = co_await exchange.write(exchange.request().path);
    if (alive) alive = co_await exchange.write(exchange.request().raw_query);
    if (alive) co_await exchange.finish();
}

// Leaves the body alone.
Task<> ignore(Exchange& exchange) { co_await exchange.respond(200, "text/plain", "ignored"); }

// Forgets to answer.
Task<> silent(Exchange&) { co_return; }

// Begins and forgets to finish.
Task<> cut_short(Exchange& exchange) {
    co_await exchange.begin(200, "text/plain");
    co_await exchange.write("half");
}

Task<std::optional<Denial>> guard(const Request& request) {
    const std::string* authorization = request.header("authorization");
    if (authorization != nullptr && *authorization == "Bearer s") co_return std::nullopt;
    Denial denial;
    denial.message = "Unauthorized";
    co_return denial;
}

void add(Router& router, std::string path, Method method, Task<> (*handler)(Exchange&), bool open = true) {
    Route route;
    route.path = std::move(path);
    route.methods = {method};
    route.open = open;
    route.handler = handler;
    router.add(std::move(route));
}

HttpLimits small_limits() {
    HttpLimits limits;
    limits.head_bytes = 512;
    limits.body_bytes = 300;
    return limits;
}

class Server {
  public:
    Server() : router_({"/mounted"}) {
        add(router_, "/echo", Method::post, echo);
        add(router_, "/stream", Method::get, stream);
        add(router_, "/ignore", Method::post, ignore);
        add(router_, "/silent", Method::get, silent);
        add(router_, "/cut", Method::get, cut_short);
        add(router_, "/guarded", Method::post, echo, false);
        impl_ = std::make_shared<HttpServer::Impl>(loop_, router_, guard, small_limits());
    }

    // All that comes back when `pieces` are sent one after the other, and then the end of the stream.
    std::string serve(const std::vector<std::string_view>& pieces) {
        int ends[2];
        FUZZ_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
        UniqueFd peer(ends[0]);
        auto session = std::make_shared<HttpSession>(impl_, UniqueFd(ends[1]));
        bool ended = false;
        spawn_task(loop_, "session", session->run(), [&ended] { ended = true; });
        std::string out;
        settle(peer, out);
        for (const std::string_view piece : pieces) {
            if (!piece.empty() && ::send(peer.get(), piece.data(), piece.size(), MSG_NOSIGNAL) < 0) break;
            settle(peer, out);
        }
        ::shutdown(peer.get(), SHUT_WR);
        settle(peer, out);
        FUZZ_CHECK(ended);
        session.reset();
        FUZZ_CHECK(impl_->sessions.empty() && impl_->running == 0 && impl_->counters.active == 0);
        return out;
    }

  private:
    // Until nothing is ready: no handler here waits for anything but the socket.
    void settle(const UniqueFd& peer, std::string& out) {
        for (bool busy = true; busy;) {
            loop_.restart();
            busy = loop_.poll() > 0;
            char buffer[16384];
            ssize_t count = 0;
            while ((count = ::recv(peer.get(), buffer, sizeof buffer, 0)) > 0) {
                out.append(buffer, static_cast<std::size_t>(count));
                busy = true;
            }
        }
    }

    Loop loop_{1};
    Router router_;
    std::shared_ptr<HttpServer::Impl> impl_;
};

std::string without_interim(std::string out) {
    constexpr std::string_view kInterim = "HTTP/1.1 100 Continue\r\n\r\n";
    for (std::size_t at = 0; (at = out.find(kInterim, at)) != std::string::npos;)
        out.erase(at, kInterim.size());
    // One second may have passed between two runs.
    for (std::size_t at = 0; (at = out.find("\r\nDate: ", at)) != std::string::npos;) {
        out.erase(at, out.find("\r\n", at + 2) - at);
    }
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Server server;
    const fuzz::Input input(data, size);
    if (input.text.size() > 4096) return 0;  // beyond it the kernel cuts as it likes
    const std::string whole = server.serve({input.text});
    const std::string pieces = server.serve(fuzz::cut(input.text, input.choice | 1));
    // Which request is a HEAD is not known here, so their bodies are looked for only where there are none.
    const bool head = input.text.find("HEAD") != std::string_view::npos;
    if (!head) {
        const test::AnswerReader read(whole);
        FUZZ_CHECK(read.fault.empty());
        for (const test::Answer& answer : read.answers) {
            if (!answer.complete && !answer.to_the_end)
                FUZZ_CHECK(answer.body == "half" || answer.body.empty());
            if (answer.status >= 400 && answer.complete) FUZZ_CHECK(answer.body.starts_with("{\"error\":"));
        }
    }
    FUZZ_CHECK(without_interim(whole) == without_interim(pieces));
    return 0;
}
