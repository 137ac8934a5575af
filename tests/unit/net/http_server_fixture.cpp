// The half of the fixture that needs the event loop, apart from the tests because it takes long to compile.
#include <fcntl.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <optional>
#include <stdexcept>
#include <thread>

#include "platform/event.hpp"
#include "platform/listen.hpp"
#include "support/census.hpp"
#include "support/folder.hpp"
#include "unit/net/http_server_fixture.hpp"

namespace sandbox::net::test {
namespace {

Task<> echo(Exchange& exchange) {
    std::string body;
    for (;;) {
        Result<std::string_view> piece = co_await exchange.read_body();
        if (!piece) {
            int status = piece.error().code == Errc::too_large ? 413 : 400;
            co_await respond_error(exchange, status, piece.error().message);
            co_return;
        }
        if (piece->empty()) break;
        body += *piece;
    }
    co_await exchange.respond(200, "application/octet-stream", std::move(body));
}

// As echo(), with memory of its own for every other piece. A header tells whether that was used.
Task<> echo_into(Exchange& exchange) {
    std::string body;
    std::string memory(10'000, '\0');
    bool used = false;
    for (bool outside = true;; outside = !outside) {
        std::span<char> room;
        if (outside) room = memory;
        Result<std::string_view> piece = co_await exchange.read_body_into(room);
        if (!piece) {
            co_await respond_error(exchange, 400, piece.error().message);
            co_return;
        }
        if (piece->empty()) break;
        body += *piece;
        used = used || piece->data() == memory.data();
    }
    HeaderList headers(1, Header{"X-Used", used ? "yes" : "no"});
    co_await exchange.respond(200, "application/octet-stream", std::move(body), std::move(headers));
}

Task<> limited(Exchange& exchange) {
    exchange.limit_body(10);
    co_await echo(exchange);
}

Task<> hello(Exchange& exchange) {
    std::string text = "hello " + exchange.request().path + " " + exchange.request().raw_query;
    co_await exchange.respond(200, "text/plain", std::move(text));
}

Task<> empty(Exchange& exchange) {
    std::string none;
    co_await exchange.respond(204, "", std::move(none));
}

Task<> stream(Exchange& exchange) {
    co_await exchange.begin(200, "text/plain");
    for (int i = 0; i < 3; ++i) {
        std::string text = "chunk " + std::to_string(i) + "\n";
        co_await exchange.write(text);
        co_await exchange.write("");
    }
    co_await exchange.finish();
}

Task<> with_length(Exchange& exchange) {
    HeaderList headers(1, Header{"X-Extra", "yes"});
    co_await exchange.begin(200, "text/plain", std::move(headers), 10);
    co_await exchange.write("01234");
    co_await exchange.write("56789");
    co_await exchange.finish();
}

Task<> too_short(Exchange& exchange) {
    HeaderList headers;
    co_await exchange.begin(200, "text/plain", std::move(headers), 10);
    co_await exchange.write("01234");
    co_await exchange.finish();
}

Task<> half(Exchange& exchange) {
    co_await exchange.begin(200, "text/plain");
    co_await exchange.write("half");
}

Task<> silent(Exchange&) { co_return; }

Task<> throws(Exchange&) {
    throw std::runtime_error("not for the client");
    co_return;
}

Task<> throws_late(Exchange& exchange) {
    co_await exchange.begin(200, "text/plain");
    co_await exchange.write("half");
    throw std::runtime_error("not for the client");
}

// 1000 lines of 1000 bytes, sent from the 3rd byte on; "?more" promises more than there is.
}  // namespace

struct HttpServerTest::Server {
    explicit Server(Seen& s) : seen(s), wake(loop) {}

    Task<> wait(Exchange& exchange) {
        bool gone = false;
        exchange.watch_disconnect([&] {
            gone = true;
            ++seen.gone;
            wake.notify();
        });
        ++seen.waiting;
        while (!gone && seen.released == 0) co_await wake.wait();
        if (gone) co_return;
        co_await exchange.respond(200, "text/plain", std::string("waited"));
    }
    Task<> file(Exchange& exchange) {
        std::string line(1000, 'x');
        line.back() = '\n';
        std::string lines;
        for (int i = 0; i < 1000; ++i) lines += line;
        sandbox::test::Folder folder;
        const std::string path = folder.file("lines", lines, 0600);
        UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        std::uint64_t length = 999'997;
        if (exchange.request().raw_query == "more") length += 100;
        HeaderList headers;
        co_await exchange.begin(200, "application/octet-stream", std::move(headers), length);
        co_await exchange.write_file(files, fd.get(), 3, length);
        co_await exchange.finish();
    }
    // How many have asked for it.
    Task<> serial(Exchange& exchange) {
        std::string number = std::to_string(++serials);
        co_await exchange.respond(200, "text/plain", std::move(number));
    }
    Task<> flood(Exchange& exchange) {
        co_await exchange.begin(200, "application/octet-stream");
        const std::string block(1024 * 1024, 'f');
        while (co_await exchange.write(block)) seen.flooded += block.size();
        if (exchange.peer_gone() && !co_await exchange.write("x")) seen.flood_over = true;
    }
    Task<std::optional<Denial>> guard(const Request& request) {
        const std::string* authorization = request.header("authorization");
        std::optional<Denial> denial;
        if (authorization == nullptr || *authorization != "Bearer ok")
            denial.emplace().message = "Unauthorized";
        co_return denial;
    }

    template <class F>
    auto on_loop(F action) {
        using Action = std::packaged_task<std::invoke_result_t<F>()>;
        auto task = std::make_shared<Action>(std::move(action));
        auto result = task->get_future();
        boost::asio::post(loop, [task] { (*task)(); });
        return result.get();
    }

    sandbox::test::DescriptorCensus census;
    Seen& seen;
    Loop loop{1};
    BlockingPool files{loop, "files", 1, 1};
    Event wake;
    int serials = 0;
    Router router{{"/prefix"}};
    std::optional<HttpServer> http;
    std::optional<boost::asio::executor_work_guard<Executor>> work;
    std::thread thread;
};

HttpServerTest::HttpServerTest() = default;
HttpServerTest::~HttpServerTest() = default;

void HttpServerTest::start(HttpLimits limits) {
    server_ = std::make_unique<Server>(seen_);
    Server& server = *server_;
    const std::vector<Method> get_only{Method::get};
    const std::vector<Method> post_only{Method::post};
    server.router.add({"/hello", {Method::get, Method::post}, true, hello});
    server.router.add({"/a b", get_only, true, hello});
    server.router.add({"/private", get_only, false, hello});
    server.router.add({"/private-echo", post_only, false, echo});
    server.router.add({"/echo", post_only, true, echo});
    server.router.add({"/echo-into", post_only, true, echo_into});
    server.router.add({"/limited", post_only, true, limited});
    server.router.add({"/empty", get_only, true, empty});
    server.router.add({"/unread", post_only, true, hello});
    server.router.add({"/stream", get_only, true, stream});
    server.router.add({"/length", get_only, true, with_length});
    server.router.add({"/short", get_only, true, too_short});
    server.router.add({"/half", get_only, true, half});
    server.router.add({"/silent", get_only, true, silent});
    server.router.add({"/throws", get_only, true, throws});
    server.router.add({"/throws-late", get_only, true, throws_late});
    server.router.add({"/file", get_only, true, [&server](Exchange& e) { return server.file(e); }});
    server.router.add(
        {"/wait", {Method::get, Method::post}, true, [&server](Exchange& e) { return server.wait(e); }});
    server.router.add({"/serial", get_only, true, [&server](Exchange& e) { return server.serial(e); }});
    server.router.add({"/flood", get_only, true, [&server](Exchange& e) { return server.flood(e); }});
    auto guard = [&server](const Request& request) { return server.guard(request); };
    server.http.emplace(server.loop, server.router, guard, limits);
    ListenOptions options;
    options.loopback_only = true;
    auto listener = listen_tcp("0", options);
    ASSERT_TRUE(listener) << listener.error().message;
    port_ = bound_port(listener->get());
    server.http->serve(std::move(*listener));
    server.work.emplace(server.loop.get_executor());
    server.thread = std::thread([&server] { server.loop.run(); });
}

void HttpServerTest::release() {
    server_->on_loop([this] {
        seen_.released = 1;
        server_->wake.notify();
    });
}
void HttpServerTest::drain() {
    server_->on_loop([this] { server_->http->drain(); });
}
void HttpServerTest::stop() {
    server_->on_loop([this] { server_->http->stop(); });
}
HttpCounters HttpServerTest::counters() {
    return server_->on_loop([this] { return server_->http->counters(); });
}
std::size_t HttpServerTest::running() {
    return server_->on_loop([this] { return server_->http->running_requests(); });
}
bool HttpServerTest::all_closed() {
    return sandbox::test::eventually([this] { return counters().active == 0; });
}

void HttpServerTest::while_the_loop_stands(const std::function<void()>& action) {
    server_->on_loop([&action] { action(); });
}

void HttpServerTest::TearDown() {
    if (!server_) return;
    release();
    server_->on_loop([this] {
        server_->http.reset();
        server_->work.reset();
    });
    server_->thread.join();  // Only when the loop has run out of work.
    sandbox::test::DescriptorCensus census = server_->census;
    server_.reset();
    census.check();
}

}  // namespace sandbox::net::test
