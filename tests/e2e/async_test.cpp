// The awaitable form against the real daemon: many at once on one thread, cancellation, and a connection that
// breaks.

#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <koyeb/sandbox/async_sandbox.hpp>

#include "support.hpp"

using namespace koyeb::sandbox;
namespace asio = boost::asio;
using asio::ip::tcp;
using e2e::daemon;
using e2e::eventually;

namespace {

void rethrow(std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
}

Awaitable<> one_of_many(AsyncSandbox sandbox, int number, int& right) {
    const std::string text = std::to_string(number);
    const CommandResult result = co_await sandbox.exec("sleep 0.5; printf %s " + text);
    if (result.stdout_data == text) ++right;
}

TEST(Async, SixtyFourCommandsOnOneThread) {
    asio::io_context context(1);
    int right = 0;
    const auto start = e2e::Clock::now();
    {
        const AsyncSandbox sandbox = AsyncSandbox::connect(context.get_executor(), daemon().info());
        for (int i = 0; i < 64; ++i) asio::co_spawn(context, one_of_many(sandbox, i, right), rethrow);
    }
    context.run();
    EXPECT_EQ(right, 64);
    EXPECT_LT(e2e::Clock::now() - start, std::chrono::seconds(25)) << "one after the other takes 32 s";
}

// Everything that a client does, with names and content of its own.
Awaitable<> one_whole_client(AsyncSandbox sandbox, std::string dir, int number, int& right) {
    AsyncFilesystem fs = sandbox.filesystem();
    const std::string path = dir + "/" + std::to_string(number);
    const std::string bytes = e2e::random_bytes(20'000, static_cast<unsigned>(number));
    co_await fs.write_file(path, bytes);
    ExecOptions options;
    options.open_stdin = true;
    AsyncCommandStream tee = co_await sandbox.exec_stream("tee " + path + ".copy", std::move(options));
    co_await tee.write(bytes);
    co_await tee.close_stdin();
    std::string streamed;
    while (auto event = co_await tee.next()) streamed += event->data;
    const std::string copy = co_await fs.read_bytes(path + ".copy");
    std::string id = co_await sandbox.launch_process("cat " + path + " | wc -c");
    AsyncLogStream logs = sandbox.process_logs(id);
    const auto count = co_await logs.next();
    if (streamed == bytes && copy == bytes && count && count->data == "20000\n") ++right;
}

TEST(Async, SixtyFourClientsAtOnceEachWithEverything) {
    const e2e::Folder dir;
    asio::io_context context(1);
    int right = 0;
    for (int i = 0; i < 64; ++i) {
        const AsyncSandbox sandbox = AsyncSandbox::connect(context.get_executor(), daemon().info());
        asio::co_spawn(context, one_whole_client(sandbox, dir.path(), i, right), rethrow);
    }
    context.run();
    EXPECT_EQ(right, 64);
}

Awaitable<> long_command(AsyncSandbox sandbox, bool streaming) {
    ExecOptions options;
    options.timeout = Seconds{0};
    if (streaming) options.on_stdout = [](std::string_view) {};
    co_await sandbox.exec("setsid sleep 1000 & sleep 1000", std::move(options));
}

Awaitable<> cancel_when_running(asio::cancellation_signal& cancel) {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    while (daemon().offspring().size() < 2) {
        timer.expires_after(std::chrono::milliseconds(5));
        co_await timer.async_wait(asio::use_awaitable);
    }
    cancel.emit(asio::cancellation_type::terminal);
}

TEST(Async, CancellingEndsTheCommandInTheSandbox) {
    for (const bool streaming : {false, true}) {
        asio::io_context context(1);
        asio::cancellation_signal cancel;
        const AsyncSandbox sandbox = AsyncSandbox::connect(context.get_executor(), daemon().info());
        bool aborted = false;
        const auto done = [&aborted](std::exception_ptr error) {
            try {
                rethrow(error);
            } catch (const boost::system::system_error& failure) {
                aborted = failure.code() == asio::error::operation_aborted;
            }
        };
        asio::co_spawn(context, long_command(sandbox, streaming),
                       asio::bind_cancellation_slot(cancel.slot(), done));
        asio::co_spawn(context, cancel_when_running(cancel), rethrow);
        context.run();
        EXPECT_TRUE(aborted);
        EXPECT_TRUE(eventually([] { return daemon().offspring().empty(); }));
    }
}

// Carries bytes both ways and breaks each connection after so many bytes of the answer.
class Breaker {
  public:
    Breaker(asio::io_context& context, int target, std::size_t limit)
        : acceptor_(context, tcp::endpoint(asio::ip::address_v4::loopback(), 0)),
          target_(target),
          limit_(limit) {}
    int port() const { return acceptor_.local_endpoint().port(); }
    int broken() const { return broken_; }

    Awaitable<> run() {
        const auto executor = co_await asio::this_coro::executor;
        for (;;) {
            tcp::socket client(executor);
            co_await acceptor_.async_accept(client, asio::use_awaitable);
            asio::co_spawn(executor, carry(std::move(client)), rethrow);
        }
    }

  private:
    Awaitable<> carry(tcp::socket client) {
        try {
            std::string head;
            co_await asio::async_read_until(client, asio::dynamic_buffer(head), "\r\n\r\n",
                                            asio::use_awaitable);
            tcp::socket server(client.get_executor());
            const tcp::endpoint target(asio::ip::address_v4::loopback(),
                                       static_cast<unsigned short>(target_));
            co_await server.async_connect(target, asio::use_awaitable);
            co_await asio::async_write(server, asio::buffer(head), asio::use_awaitable);
            std::vector<char> bytes(4096);
            for (std::size_t carried = 0; carried < limit_;) {
                const std::size_t most = std::min(bytes.size(), limit_ - carried);
                const std::size_t n =
                    co_await server.async_read_some(asio::buffer(bytes.data(), most), asio::use_awaitable);
                co_await asio::async_write(client, asio::buffer(bytes.data(), n), asio::use_awaitable);
                carried += n;
            }
            ++broken_;
            if (broken_ % 2 == 0) client.set_option(asio::socket_base::linger(true, 0));
        } catch (const boost::system::system_error&) {
            // One side is gone; so is the other with this frame.
        }
    }

    tcp::acceptor acceptor_;
    int target_;
    std::size_t limit_;
    int broken_ = 0;
};

Awaitable<> follow(AsyncSandbox direct, ConnectionInfo broken_path, asio::io_context& context,
                   std::string& all, bool& in_order) {
    std::string id = co_await direct.launch_process("for i in $(seq 1 40); do seq 1 50; sleep 0.01; done");
    const auto executor = co_await asio::this_coro::executor;
    AsyncSandbox sandbox = AsyncSandbox::connect(executor, std::move(broken_path));
    AsyncLogStream logs = sandbox.process_logs(id);
    std::optional<std::int64_t> last;
    while (auto event = co_await logs.next()) {
        if (last && event->id != *last + 1) in_order = false;
        last = event->id;
        all += event->data;
    }
    context.stop();  // the breaker's idle connections wait for ever
}

TEST(Async, ALogGoesOnAcrossBrokenConnections) {
    asio::io_context context(1);
    Breaker breaker(context, daemon().port(), 9000);
    ConnectionInfo info = daemon().info();
    info.url = "http://127.0.0.1:" + std::to_string(breaker.port());
    const AsyncSandbox direct = AsyncSandbox::connect(context.get_executor(), daemon().info());
    std::string all;
    bool in_order = true;
    asio::co_spawn(context, breaker.run(), rethrow);
    asio::co_spawn(context, follow(direct, info, context, all, in_order), rethrow);
    context.run();
    std::string expected;
    for (int i = 0; i < 40; ++i)
        for (int n = 1; n <= 50; ++n) expected += std::to_string(n) + "\n";
    EXPECT_EQ(all, expected);
    EXPECT_TRUE(in_order);
    EXPECT_GT(breaker.broken(), 10);
}

Awaitable<> as_values(AsyncSandbox sandbox, bool& done) {
    AsyncFilesystem fs = sandbox.filesystem();
    const Result<std::string> missing = co_await as_result(fs.read_bytes("/no/such/file"));
    EXPECT_EQ(missing.error().kind, ErrorKind::file_not_found);
    CommandResult made = co_await sandbox.exec("mktemp | tr -d '\\n'");
    const std::string path = made.stdout_data;
    AsyncFileHandle file = co_await fs.open(path, "w");
    co_await file.write("abc");
    const Result<std::string> read = co_await as_result(fs.read_bytes(path));
    EXPECT_EQ(read.value(), "abc");
    co_await fs.rm(path);
    done = true;
}

TEST(Async, FilesAndErrorsAsValues) {
    asio::io_context context(1);
    bool done = false;
    asio::co_spawn(context, as_values(AsyncSandbox::connect(context.get_executor(), daemon().info()), done),
                   rethrow);
    context.run();
    EXPECT_TRUE(done);
}

}  // namespace
