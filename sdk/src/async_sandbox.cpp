#include "koyeb/sandbox/async_sandbox.hpp"

#include <algorithm>
#include <utility>

#include "core.hpp"

namespace koyeb::sandbox {
namespace {

// Both forms of a command in one request: shell text, or an argv.
RunRequest make_run(std::string command, const ExecOptions& options) {
    RunRequest request;
    if (options.args.empty()) request.cmd = std::move(command);
    request.args = options.args;
    request.cwd = options.cwd;
    request.env = options.env;
    if (options.timeout > Seconds::zero()) request.timeout = options.timeout;
    request.stdin_data = options.stdin_data;
    request.open_stdin = options.open_stdin;
    request.encoding = Encoding::base64;
    request.user = options.user;
    request.stats = options.stats;
    return request;
}

void set_end(CommandResult& result, const CommandEnd& end) {
    result.exit_code = end.exit_code;
    result.status = end.exit_code == 0 ? CommandStatus::finished : CommandStatus::failed;
    result.signal = end.signal;
    result.timed_out = end.timed_out;
    result.oom_killed = end.oom_killed;
    result.pipes_open = end.pipes_open;
    result.stats = end.stats;
}

// What is kept of a command while its output arrives.
void take(const OutputEvent& event, const ExecOptions& options, CommandResult& result) {
    const OutputCallback& callback = event.stream == Stream::out ? options.on_stdout : options.on_stderr;
    if (callback) callback(event.data);
    if (!options.keep_output) return;
    std::string& kept = event.stream == Stream::out ? result.stdout_data : result.stderr_data;
    kept += event.data;
}

std::string timeout_text(const ExecOptions& options) {
    std::string seconds = std::to_string(options.timeout.count());
    seconds.erase(seconds.find_last_not_of('0') + 1);
    if (seconds.back() == '.') seconds.pop_back();
    return "command timed out after " + seconds + " s";
}

Awaitable<> run_whole(AsyncClient client, RunRequest request, const ExecOptions& options,
                      CommandResult& result) {
    if (!co_await client.has_extras()) request.encoding = Encoding::utf8;
    RunResponse response = co_await client.run(std::move(request));
    if (options.keep_output) {
        result.stdout_data = std::move(response.stdout_data);
        result.stderr_data = std::move(response.stderr_data);
    }
    set_end(result, response.end);
    if (response.truncated) throw SandboxCommandError(response.error);
}

Awaitable<> run_streamed(AsyncClient client, RunRequest request, const ExecOptions& options,
                         CommandResult& result) {
    AsyncCommandStream stream = co_await client.run_streaming(std::move(request));
    while (auto event = co_await stream.next()) take(*event, options, result);
    set_end(result, stream.end());
}

Awaitable<CommandResult> do_exec(AsyncClient client, std::string command, ExecOptions options) {
    if (options.open_stdin) throw SandboxError("open_stdin is for exec_stream: nobody could write to exec");
    const auto start = Clock::now();
    CommandResult result;
    result.command = command;
    result.status = CommandStatus::running;
    RunRequest request = make_run(std::move(command), options);
    bool timed_out = false;
    try {
        if (options.on_stdout || options.on_stderr) {
            co_await run_streamed(client, std::move(request), options, result);
        } else {
            co_await run_whole(client, std::move(request), options, result);
        }
    } catch (const SandboxTimeoutError&) {
        if (options.timeout == Seconds::zero()) throw;
        timed_out = true;
        result.exit_code = 124;  // as timeout(1) says it
        result.status = CommandStatus::failed;
    }
    result.duration = Clock::now() - start;
    if (timed_out || result.timed_out) {
        result.timed_out = true;
        const std::string text = timeout_text(options);
        throw SandboxTimeoutError(text, std::make_shared<CommandResult>(std::move(result)));
    }
    co_return result;
}

Awaitable<AsyncCommandStream> do_exec_stream(AsyncClient client, std::string command, ExecOptions options) {
    RunRequest request = make_run(std::move(command), options);
    co_return co_await client.run_streaming(std::move(request));
}

Awaitable<AsyncCommandStream> do_pty(AsyncClient client, std::string command, PtyOptions options) {
    RunRequest request;
    if (options.args.empty()) request.cmd = std::move(command);
    request.args = std::move(options.args);
    request.cwd = std::move(options.cwd);
    request.env = std::move(options.env);
    request.env.try_emplace("TERM", "xterm-256color");
    request.user = std::move(options.user);
    request.encoding = Encoding::base64;
    request.terminal = options.size;
    co_return co_await client.run_streaming(std::move(request));
}

Awaitable<std::string> do_launch(AsyncClient client, std::string command, LaunchOptions options) {
    StartProcessRequest request;
    if (options.args.empty()) request.cmd = std::move(command);
    request.args = options.args;
    request.cwd = options.cwd;
    request.env = options.env;
    request.open_stdin = options.open_stdin;
    request.tag = options.tag;
    request.user = options.user;
    request.timeout = options.timeout;
    StartProcessResponse response = co_await client.start_process(std::move(request));
    co_return std::move(response.id);
}

Awaitable<int> do_kill_all(AsyncClient client) {
    const std::vector<ProcessInfo> processes = co_await client.list_processes();
    int killed = 0;
    for (const ProcessInfo& process : processes) {
        if (!process.running()) continue;
        bool refused = false;
        std::string id = process.id;
        try {
            co_await client.kill_process(std::move(id));
        } catch (const SandboxServiceError& error) {
            // It may have ended by itself in the meantime.
            if (error.status_code() != 400) throw;
            refused = true;
        }
        if (!refused) ++killed;
    }
    co_return killed;
}

void check_port(int port) {
    if (port < 1 || port > 65535)
        throw SandboxError("port must be between 1 and 65535, not " + std::to_string(port));
}

Awaitable<ExposedPort> do_expose(AsyncClient client, int port) {
    check_port(port);
    co_await client.unbind_port();
    const BindPortResponse bound = co_await client.bind_port(port);
    ExposedPort exposed;
    exposed.port = bound.port;
    exposed.exposed_at = parse_url(client.info().url).origin();
    co_return exposed;
}

Awaitable<std::string> do_status(AsyncClient client) {
    Result<Health> health = co_await as_result(client.health());
    if (!health) co_return std::string("unreachable");
    co_return std::move(health.value().status);
}

bool is_good(const std::string& status) {
    Health health;
    health.status = status;
    return health.ok();
}

Awaitable<bool> do_is_healthy(AsyncClient client) {
    const std::string status = co_await do_status(client);
    co_return is_good(status);
}

Awaitable<bool> do_wait_ready(AsyncClient client, Seconds timeout, Seconds poll_interval) {
    const auto limit = Clock::now() + to_duration(timeout);
    for (Seconds wait{0.1};; wait *= 2) {
        // A server that swallows the request must not hold up the count: each question has a short limit of
        // its own.
        ConnectionInfo info = client.info();
        const Seconds left = std::max(Seconds(limit - Clock::now()), Seconds{0.01});
        info.timeout = info.connect_timeout = std::min(left, Seconds{5});
        AsyncClient asking(client.executor(), std::move(info));
        if (co_await do_is_healthy(asking)) co_return true;
        const Seconds pause =
            std::min({wait, std::max(poll_interval, Seconds{0.001}), Seconds(limit - Clock::now())});
        if (pause <= Seconds::zero()) co_return false;
        co_await Transport::pause(pause);
    }
}

}  // namespace

AsyncSandbox AsyncSandbox::connect(boost::asio::any_io_executor executor, ConnectionInfo info) {
    return AsyncSandbox(AsyncClient(std::move(executor), std::move(info)));
}
AsyncSandbox::AsyncSandbox(AsyncClient client) : client_(std::move(client)) {}

Awaitable<CommandResult> AsyncSandbox::exec(std::string command, ExecOptions options) {
    return do_exec(client_, std::move(command), std::move(options));
}
Awaitable<CommandResult> AsyncSandbox::exec(std::string command) {
    return exec(std::move(command), ExecOptions());
}
Awaitable<AsyncCommandStream> AsyncSandbox::exec_stream(std::string command, ExecOptions options) {
    return do_exec_stream(client_, std::move(command), std::move(options));
}
Awaitable<AsyncCommandStream> AsyncSandbox::exec_stream(std::string command) {
    return exec_stream(std::move(command), ExecOptions());
}
Awaitable<AsyncCommandStream> AsyncSandbox::pty(std::string command, PtyOptions options) {
    return do_pty(client_, std::move(command), std::move(options));
}
Awaitable<AsyncCommandStream> AsyncSandbox::pty(std::string command) {
    return pty(std::move(command), PtyOptions());
}
AsyncFilesystem AsyncSandbox::filesystem() const { return AsyncFilesystem(client_); }
Awaitable<std::string> AsyncSandbox::launch_process(std::string command, LaunchOptions options) {
    return do_launch(client_, std::move(command), std::move(options));
}
Awaitable<std::string> AsyncSandbox::launch_process(std::string command) {
    return launch_process(std::move(command), LaunchOptions());
}
Awaitable<> AsyncSandbox::kill_process(std::string process_id) {
    return client_.kill_process(std::move(process_id));
}
Awaitable<std::vector<ProcessInfo>> AsyncSandbox::list_processes() { return client_.list_processes(); }
Awaitable<int> AsyncSandbox::kill_all_processes() { return do_kill_all(client_); }
Awaitable<ProcessDetails> AsyncSandbox::get_process(std::string process_id) {
    return client_.get_process(std::move(process_id));
}
Awaitable<> AsyncSandbox::signal_process(std::string process_id, std::string signal) {
    SignalRequest request;
    request.id = std::move(process_id);
    request.signal = std::move(signal);
    return client_.signal_process(std::move(request));
}
Awaitable<> AsyncSandbox::send_stdin(std::string process_id, std::string data, bool close) {
    SendStdinRequest request;
    request.id = std::move(process_id);
    request.data = std::move(data);
    request.close = close;
    return client_.send_stdin(std::move(request));
}
AsyncLogStream AsyncSandbox::process_logs(std::string process_id, std::optional<std::int64_t> from,
                                          bool follow) {
    LogsRequest request;
    request.id = std::move(process_id);
    request.from = from;
    request.follow = follow;
    return client_.process_logs(std::move(request));
}
Awaitable<ExposedPort> AsyncSandbox::expose_port(int port) { return do_expose(client_, port); }
Awaitable<> AsyncSandbox::unexpose_port() { return client_.unbind_port(); }
Awaitable<bool> AsyncSandbox::wait_ready(Seconds timeout, Seconds poll_interval) {
    return do_wait_ready(client_, timeout, poll_interval);
}
Awaitable<bool> AsyncSandbox::is_healthy() { return do_is_healthy(client_); }
Awaitable<std::string> AsyncSandbox::status() { return do_status(client_); }

}  // namespace koyeb::sandbox
