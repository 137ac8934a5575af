// A program that knows nothing of the tree: both forms, by the installed headers.

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <iostream>
#include <koyeb/sandbox.hpp>
#include <koyeb/sandbox/async_sandbox.hpp>

using namespace koyeb::sandbox;

static Awaitable<> ask(AsyncSandbox sandbox) {
    const std::string status = co_await sandbox.status();
    std::cout << status << '\n';
}

int main() {
    ConnectionInfo info;
    info.url = "http://127.0.0.1:1";  // nobody listens: what counts is that it builds, links and runs
    info.connect_timeout = Seconds{2};
    std::cout << Sandbox::connect(info).status() << '\n';
    boost::asio::io_context context(1);
    boost::asio::co_spawn(context, ask(AsyncSandbox::connect(context.get_executor(), info)),
                          [](std::exception_ptr error) {
                              if (error) std::rethrow_exception(error);
                          });
    context.run();
    try {
        info.url = "nonsense";
        Sandbox::connect(info);
    } catch (const SandboxError& error) {
        std::cout << error.what() << '\n';
        return 0;
    }
    return 1;
}
