// exec, start, ps, kill, logs, expose, unexpose, health.

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "context.hpp"

namespace cli {
namespace {

namespace sdk = koyeb::sandbox;
using Json = nlohmann::ordered_json;

void print_json(const Json& json) { print_line(json.dump(-1, ' ', false, Json::error_handler_t::replace)); }

sdk::Environment parse_env(const std::vector<std::string>& pairs) {
    sdk::Environment env;
    for (const std::string& pair : pairs) {
        const std::size_t equals = pair.find('=');
        if (equals == std::string::npos || equals == 0) throw UsageError("not K=V: " + pair);
        env[pair.substr(0, equals)] = pair.substr(equals + 1);
    }
    return env;
}

Json to_json(const sdk::ProcessInfo& process) {
    Json json = {{"id", process.id}, {"command", process.command}, {"status", process.status}};
    if (process.pid) json["pid"] = *process.pid;
    if (process.exit_code) json["exit_code"] = *process.exit_code;
    if (process.started_at) json["started_at"] = *process.started_at;
    if (process.completed_at) json["completed_at"] = *process.completed_at;
    return json;
}

std::string padded(std::string text, std::size_t width) {
    if (text.size() < width) text.append(width - text.size(), ' ');
    return text;
}

// One line, whatever the command holds.
std::string shown(const std::string& command) {
    std::string line;
    for (const char c : command) line += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
    return line;
}

sdk::RunRequest make_request(const CommandOptions& options) {
    sdk::RunRequest request;
    if (options.shell) {
        request.cmd = joined(options.words);
    } else {
        request.args = options.words;
    }
    request.cwd = options.cwd;
    request.env = parse_env(options.env);
    request.user = options.user;
    if (options.timeout > 0) request.timeout = sdk::Seconds{options.timeout};
    return request;
}

// Without input.
sdk::CommandResult run_plain(const Context& context, const CommandOptions& options) {
    sdk::Sandbox sandbox = context.connect();
    const sdk::RunRequest request = make_request(options);
    sdk::ExecOptions exec;
    exec.cwd = request.cwd;
    exec.env = request.env;
    exec.timeout = sdk::Seconds{options.timeout};
    exec.user = request.user;
    exec.args = request.args;
    if (!context.json) {
        exec.keep_output = false;
        exec.on_stdout = [](std::string_view data) { write_all(STDOUT_FILENO, data); };
        exec.on_stderr = [](std::string_view data) { write_all(STDERR_FILENO, data); };
    }
    try {
        return sandbox.exec(request.cmd, exec);
    } catch (const sdk::SandboxTimeoutError& error) {
        if (!error.partial()) throw;
        return *error.partial();
    }
}

}  // namespace

int run_exec(const Context& context, const CommandOptions& options) {
    const sdk::CommandResult result = options.with_stdin || options.with_terminal
                                          ? run_session(context, options, make_request(options))
                                          : run_plain(context, options);
    if (context.json) {
        Json json = {
            {"stdout", result.stdout_data}, {"stderr", result.stderr_data}, {"exit_code", result.exit_code}};
        json["duration"] = result.duration.count();
        if (!result.signal.empty()) json["signal"] = result.signal;
        if (result.oom_killed) json["oom_killed"] = true;
        if (result.timed_out) json["timed_out"] = true;
        print_json(json);
    }
    if (result.oom_killed) warn("the command was killed for want of memory");
    if (result.timed_out) warn("the command timed out and was ended");
    return result.timed_out && result.exit_code == 0 ? 124 : result.exit_code;
}

int run_start(const Context& context, const CommandOptions& options) {
    sdk::Sandbox sandbox = context.connect();
    sdk::LaunchOptions launch;
    launch.cwd = options.cwd;
    launch.env = parse_env(options.env);
    launch.user = options.user;
    launch.tag = options.tag;
    if (options.timeout > 0) launch.timeout = sdk::Seconds{options.timeout};
    if (!options.shell) launch.args = options.words;
    const std::string id = sandbox.launch_process(options.shell ? joined(options.words) : "", launch);
    if (context.json) {
        print_json(Json{{"id", id}});
    } else {
        print_line(id);
    }
    return kOk;
}

int run_ps(const Context& context, const ProcessOptions& options) {
    sdk::Sandbox sandbox = context.connect();
    std::vector<sdk::ProcessInfo> processes = sandbox.list_processes();
    if (!options.all)
        std::erase_if(processes, [](const sdk::ProcessInfo& process) { return !process.running(); });
    if (context.json) {
        Json list = Json::array();
        for (const sdk::ProcessInfo& process : processes) list.push_back(to_json(process));
        print_json(list);
        return kOk;
    }
    if (!options.quiet) {
        print_line(padded("ID", 38) + padded("STATUS", 11) + padded("CODE", 6) + padded("PID", 9) +
                   padded("STARTED", 22) + "COMMAND");
    }
    for (const sdk::ProcessInfo& process : processes) {
        if (options.quiet) {
            print_line(process.id);
            continue;
        }
        const std::string code = process.exit_code ? std::to_string(*process.exit_code) : "-";
        const std::string pid = process.pid ? std::to_string(*process.pid) : "-";
        std::string started = process.started_at.value_or("-").substr(0, 19);
        if (started.size() == 19) started += 'Z';
        print_line(padded(process.id, 38) + padded(process.status, 11) + padded(code, 6) + padded(pid, 9) +
                   padded(started, 22) + shown(process.command));
    }
    return kOk;
}

int run_kill(const Context& context, const ProcessOptions& options) {
    if (options.ids.empty() != options.all) throw UsageError("name processes, or all of them with --all");
    sdk::Sandbox sandbox = context.connect();
    std::vector<std::string> ids = options.ids;
    if (options.all) {
        if (options.signal.empty()) {
            const int killed = sandbox.kill_all_processes();
            if (context.json) {
                print_json(Json{{"killed", killed}});
            } else {
                print_line(std::to_string(killed));
            }
            return kOk;
        }
        for (const sdk::ProcessInfo& process : sandbox.list_processes())
            if (process.running()) ids.push_back(process.id);
    }
    int code = kOk;
    for (const std::string& id : ids) {
        try {
            if (options.signal.empty()) {
                sandbox.kill_process(id);
            } else {
                sandbox.signal_process(id, options.signal);
            }
        } catch (const sdk::SandboxServiceError& error) {
            if (error.status_code() == 0) throw;
            warn(id + ": " + error.what());
            code = kFailed;
        }
    }
    return code;
}

int run_logs(const Context& context, const ProcessOptions& options) {
    sdk::Sandbox sandbox = context.connect();
    sdk::LogStream logs = sandbox.process_logs(options.ids.front(), options.from, options.follow);
    while (const auto event = logs.next()) {
        if (context.json) {
            Json json;
            if (event->id) json["id"] = *event->id;
            if (event->gap) {
                json["gap"] = {{"lines", event->missing_lines}, {"bytes", event->missing_bytes}};
            } else {
                json["timestamp"] = event->timestamp;
                json["stream"] = event->stream == sdk::Stream::out ? "stdout" : "stderr";
                json["data"] = event->data;
            }
            print_json(json);
            continue;
        }
        if (event->gap) {
            warn("older output was dropped: " + std::to_string(event->missing_lines) + " lines, " +
                 std::to_string(event->missing_bytes) + " bytes");
            continue;
        }
        const std::string time = options.timestamps ? event->timestamp + " " : "";
        write_all(event->stream == sdk::Stream::out ? STDOUT_FILENO : STDERR_FILENO, time + event->data);
    }
    return kOk;
}

int run_expose(const Context& context, const PortOptions& options) {
    sdk::Sandbox sandbox = context.connect();
    const sdk::ExposedPort exposed = sandbox.expose_port(options.port);
    if (context.json) {
        print_json(Json{{"port", exposed.port}, {"exposed_at", exposed.exposed_at}});
    } else {
        print_line(std::to_string(exposed.port) + " " + exposed.exposed_at);
    }
    return kOk;
}

int run_unexpose(const Context& context) {
    context.connect().unexpose_port();
    return kOk;
}

int run_health(const Context& context, double wait_seconds) {
    sdk::Sandbox sandbox = context.connect();
    if (wait_seconds > 0) sandbox.wait_ready(sdk::Seconds{wait_seconds});
    sdk::Health health;
    health.status = sandbox.status();
    if (context.json) {
        print_json(Json{{"status", health.status}});
    } else {
        print_line(health.status);
    }
    return health.ok() ? kOk : kFailed;
}

}  // namespace cli
