// The same as coroutines: three commands at once on one thread, and errors as values.

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <koyeb/sandbox/async_sandbox.hpp>

#include "example.hpp"

using namespace koyeb::sandbox;

static Awaitable<> sleeper(AsyncSandbox sandbox, int number) {
    const CommandResult result = co_await sandbox.exec("sleep 0.2; echo done");
    std::cout << number << ": " << result.stdout_data;
}

static Awaitable<> missing(AsyncSandbox sandbox) {
    const Result<FileInfo> file = co_await as_result(sandbox.filesystem().read_file("/no/such/file"));
    std::cout << (file ? "there" : file.error().message) << '\n';
}

static void async() {
    boost::asio::io_context context(1);
    ConnectionInfo info;
    const char* url = std::getenv("SANDBOX_URL");
    const char* secret = std::getenv("SANDBOX_SECRET");
    info.url = url == nullptr ? "" : url;
    info.secret = secret == nullptr ? "" : secret;
    const AsyncSandbox sandbox = AsyncSandbox::connect(context.get_executor(), info);
    const auto rethrow = [](const std::exception_ptr& error) {
        if (error) std::rethrow_exception(error);
    };
    for (int number = 1; number <= 3; ++number)
        boost::asio::co_spawn(context, sleeper(sandbox, number), rethrow);
    boost::asio::co_spawn(context, missing(sandbox), rethrow);
    context.run();
}

int main() { return example::run(async); }
