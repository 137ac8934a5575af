// Commands with input while they run: exec -i, exec -t, shell.

#include <signal.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <functional>
#include <koyeb/sandbox/async_client.hpp>

#include "context.hpp"
#include "terminal.hpp"

namespace cli {
namespace {

namespace sdk = koyeb::sandbox;
namespace asio = boost::asio;
using sdk::Awaitable;

// bash where there is one; with UTF-8 unless the sandbox says otherwise.
constexpr const char* kShell =
    "if [ -z \"$LANG$LC_ALL\" ]; then export LANG=C.UTF-8; fi; "
    "if command -v bash >/dev/null 2>&1; then exec bash; fi; exec sh";

// One interactive command. What ends run() ends the connection, and that ends the command.
class Session {
  public:
    Session(asio::io_context& io, const sdk::ConnectionInfo& info, bool terminal)
        : io_(io), client_(io.get_executor(), info), terminal_(terminal) {}

    sdk::CommandResult run(sdk::RunRequest request, bool keep_output);

  private:
    Awaitable<> output(sdk::RunRequest request);
    Awaitable<> input();
    Awaitable<> follow_size();
    void take(const sdk::OutputEvent& event);
    void watch_signals();
    // Its failure is the session's.
    void start(Awaitable<> part);
    void stop(std::exception_ptr failure) {
        if (failure && !failure_) failure_ = std::move(failure);
        io_.stop();
    }

    asio::io_context& io_;
    sdk::AsyncClient client_;
    const bool terminal_;
    bool keep_output_ = false;
    sdk::CommandResult result_;
    std::exception_ptr failure_;
    int signal_ = 0;
    std::optional<asio::signal_set> signals_;
    std::optional<asio::signal_set> resized_;
    std::optional<sdk::AsyncCommandStream> stream_;
    std::optional<RawTerminal> raw_;
    std::optional<InputReader> reader_;
};

void Session::take(const sdk::OutputEvent& event) {
    const bool out = event.stream == sdk::Stream::out;
    if (keep_output_) {
        (out ? result_.stdout_data : result_.stderr_data) += event.data;
    } else {
        write_all(out ? STDOUT_FILENO : STDERR_FILENO, event.data);
    }
}

Awaitable<> Session::output(sdk::RunRequest request) {
    sdk::AsyncCommandStream stream = co_await client_.run_streaming(std::move(request));
    stream_.emplace(std::move(stream));
    if (terminal_) {
        raw_.emplace();
        start(follow_size());
    }
    reader_.emplace(io_.get_executor());
    start(input());
    while (auto event = co_await stream_->next()) take(*event);
    const sdk::CommandEnd& end = stream_->end();
    result_.exit_code = end.exit_code;
    result_.signal = end.signal;
    result_.timed_out = end.timed_out;
    result_.oom_killed = end.oom_killed;
    stop(nullptr);
}

Awaitable<> Session::input() {
    for (;;) {
        std::string piece = co_await reader_->next();
        const bool ended = piece.empty();
        if (ended && terminal_) co_return;
        Awaitable<> sending = ended ? stream_->close_stdin() : stream_->write(std::move(piece));
        const sdk::Result<void> sent = co_await sdk::as_result(std::move(sending));
        // A command that has ended or closed its input takes no more, and that is its own affair.
        if (!sent && sent.error().status_code != 400) sent.error().raise();
        if (ended || !sent) co_return;
    }
}

Awaitable<> Session::follow_size() {
    resized_.emplace(io_, SIGWINCH);
    // Also once now: the window may have changed since the size was asked for.
    for (;;) {
        co_await sdk::as_result(stream_->resize(terminal_size()));
        co_await resized_->async_wait(asio::use_awaitable);
    }
}

void Session::watch_signals() {
    signals_.emplace(io_, SIGINT, SIGTERM, SIGHUP);
    signals_->add(SIGQUIT);
    signals_->async_wait([this](const boost::system::error_code& ec, int signal) {
        if (ec) return;
        signal_ = signal;
        io_.stop();
    });
}

void Session::start(Awaitable<> part) {
    asio::co_spawn(io_, std::move(part), [this](std::exception_ptr failure) {
        if (failure) stop(std::move(failure));
    });
}

sdk::CommandResult Session::run(sdk::RunRequest request, bool keep_output) {
    const auto started = std::chrono::steady_clock::now();
    keep_output_ = keep_output;
    // A reader of our output that goes away must not take us along before the terminal is restored.
    ::signal(SIGPIPE, SIG_IGN);
    watch_signals();
    start(output(std::move(request)));
    io_.run();
    result_.duration = std::chrono::steady_clock::now() - started;
    // The terminal before anything is said on it.
    reader_.reset();
    raw_.reset();
    if (signal_ != 0) result_.exit_code = 128 + signal_;
    if (signal_ == 0 && failure_) std::rethrow_exception(failure_);
    return std::move(result_);
}

void need_terminal(const Context& context) {
    if (context.json) throw UsageError("a terminal has no JSON");
    if (::isatty(STDIN_FILENO) != 1) throw UsageError("standard input is no terminal; see exec -i");
}

}  // namespace

sdk::CommandResult run_session(const Context& context, const CommandOptions& options,
                               sdk::RunRequest request) {
    if (options.with_terminal) {
        need_terminal(context);
        request.terminal = terminal_size();
        const char* type = std::getenv("TERM");
        request.env.try_emplace("TERM", type != nullptr && *type != '\0' ? type : "xterm-256color");
    } else {
        request.open_stdin = true;
    }
    request.encoding = sdk::Encoding::base64;
    asio::io_context io(1);
    Session session(io, context.checked_info(), options.with_terminal);
    return session.run(std::move(request), context.json);
}

int run_shell(const Context& context, const CommandOptions& options) {
    CommandOptions shell = options;
    shell.with_terminal = true;
    if (shell.words.empty()) {
        shell.shell = true;
        shell.words = {kShell};
    }
    return run_exec(context, shell);
}

}  // namespace cli
