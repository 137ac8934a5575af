// What only the awaitable form has: many at once, cancellation, errors as values.

#include "koyeb/sandbox/async_client.hpp"

#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "fake_server.hpp"
#include "koyeb/sandbox/async_sandbox.hpp"

namespace koyeb::sandbox {
namespace {

namespace asio = boost::asio;
using fake::Peer;
using fake::Request;
using fake::Server;

Awaitable<> count_healthy(AsyncClient client, int& healthy) {
    const Health health = co_await client.health();
    if (health.ok()) ++healthy;
}

TEST(AsyncClient, ManyAtOnce) {
    Server server([](Peer& peer, const Request&) {
        peer.answer(200, R"({"status":"ok"})");
        return true;
    });
    asio::io_context context(1);
    int healthy = 0;
    {
        const AsyncClient client(context.get_executor(), server.info());
        for (int i = 0; i < 64; ++i) asio::co_spawn(context, count_healthy(client, healthy), asio::detached);
    }
    context.run();  // returns: nothing keeps the context busy once all is done
    EXPECT_EQ(healthy, 64);
}

Awaitable<> run_sleep(AsyncSandbox sandbox, bool streaming) {
    ExecOptions options;
    options.timeout = Seconds{0};
    if (streaming) options.on_stdout = [](std::string_view) {};
    co_await sandbox.exec("sleep 100", std::move(options));
}

TEST(AsyncClient, CancellingClosesTheConnection) {
    for (const bool streaming : {false, true}) {
        asio::io_context context(1);
        asio::cancellation_signal cancel;
        std::atomic<bool> closed = false;
        {
            Server server([&](Peer& peer, const Request& request) {
                if (request.target == "/stat") {
                    peer.answer(200, R"({"success":true})");
                    return true;
                }
                if (streaming) peer.begin_events();
                asio::post(context, [&cancel] { cancel.emit(asio::cancellation_type::terminal); });
                closed = peer.wait_closed();
                return false;
            });
            std::exception_ptr failure;
            AsyncSandbox sandbox = AsyncSandbox::connect(context.get_executor(), server.info());
            const auto done = [&failure](std::exception_ptr error) { failure = std::move(error); };
            asio::co_spawn(context, run_sleep(sandbox, streaming),
                           asio::bind_cancellation_slot(cancel.slot(), done));
            context.run();
            ASSERT_TRUE(failure);
            try {
                std::rethrow_exception(failure);
            } catch (const boost::system::system_error& error) {
                EXPECT_EQ(error.code(), asio::error::operation_aborted);
            }
        }
        EXPECT_TRUE(closed) << streaming;
    }
}

Awaitable<> errors_as_values(AsyncClient client, bool& done) {
    const Result<FileInfo> missing = co_await as_result(AsyncSandbox(client).filesystem().read_file("/x"));
    EXPECT_FALSE(missing);
    EXPECT_EQ(missing.error().kind, ErrorKind::file_not_found);
    const Result<void> refused = co_await as_result(client.delete_file("/y"));
    EXPECT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, ErrorKind::filesystem);
    const Result<Health> health = co_await as_result(client.health());
    EXPECT_TRUE(health);
    EXPECT_EQ(health.value().status, "ok");
    done = true;
}

TEST(AsyncClient, ErrorsAsValues) {
    Server server([](Peer& peer, const Request& request) {
        if (request.target == "/read_file")
            peer.answer(200, R"({"error":"open /x: no such file or directory"})");
        if (request.target == "/delete_file")
            peer.answer(200, R"({"error":"remove /y: permission denied","success":false})");
        if (request.target == "/health") peer.answer(200, R"({"status":"ok"})");
        return true;
    });
    asio::io_context context(1);
    bool done = false;
    asio::co_spawn(context, errors_as_values(AsyncClient(context.get_executor(), server.info()), done),
                   asio::detached);
    context.run();
    EXPECT_TRUE(done);
}

}  // namespace
}  // namespace koyeb::sandbox
