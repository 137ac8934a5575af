// process.Process/Start and /Connect: calls that answer with the events of a process.

#include <signal.h>
#include <sys/stat.h>

#include <cerrno>

#include "e2b/handlers.hpp"
#include "e2b/process_events.hpp"
#include "e2b/process_lookup.hpp"
#include "e2b/user_paths.hpp"
#include "platform/event.hpp"
#include "services/shell_path.hpp"

namespace sandbox::e2b {
namespace {

constexpr std::size_t kBatch = 256 * 1024;  // output bytes in one write
// Where the daemon has none itself.

// The timeout of the call that started a process counts for the process, whatever becomes of the connection.
Task<> kill_at(std::shared_ptr<ManagedProcess> process, std::chrono::steady_clock::time_point deadline) {
    while (!process->output().ended_at()) {
        auto rest = std::chrono::ceil<Milliseconds>(deadline - std::chrono::steady_clock::now());
        if (rest.count() <= 0) break;
        co_await process->changed().wait_for(rest);
    }
    if (process->output().ended_at()) co_return;
    process->end_early();
    co_await process->command().signal(SIGKILL, false);
}

// The events of `process` from `subscription` on, to the end of the answer.
Task<> stream_events(net::Exchange& exchange, Context& context, std::shared_ptr<ManagedProcess> process,
                     std::shared_ptr<Subscription> subscription, const StreamRequest& request, bool owner) {
    bool expired = false;
    Timer deadline(context.loop);
    if (request.timeout) {
        deadline.start(*request.timeout, [&expired, subscription] {
            expired = true;
            subscription->wake();
        });
        // A little later, so that the stream ends with its deadline and not with the end of the process.
        auto kill_time = std::chrono::steady_clock::now() + *request.timeout + Milliseconds(1);
        if (owner) spawn_task(context.loop, "timeout of a command", kill_at(process, kill_time));
    }
    exchange.watch_disconnect([subscription] { subscription->wake(); });
    if (!co_await begin_stream(exchange)) co_return;
    std::string out;
    append_start_event(out, process->pid());
    if (!co_await exchange.write(out)) co_return;
    while (!expired && !exchange.peer_gone()) {
        std::vector<OutputPiece> pieces = co_await subscription->take(kBatch);
        out.clear();
        for (const OutputPiece& piece : pieces) append_data_events(out, piece.stream, *piece.bytes);
        if (pieces.empty()) {
            if (subscription->cut_off() || subscription->ended()) break;
            bool woken = co_await subscription->wait_for(request.keepalive);
            if (woken) continue;
            append_keepalive_event(out);
        }
        if (!co_await exchange.write(out)) co_return;
    }
    if (exchange.peer_gone()) co_return;
    out.clear();
    std::optional<ConnectError> error;
    if (expired) {
        error = ConnectError{Code::deadline_exceeded, "context deadline exceeded"};
    } else if (subscription->cut_off()) {
        error = ConnectError{Code::resource_exhausted,
                             "output was lost: it was not read for too long, or there was no memory for it"};
    } else if (process->end() && process->end()->output_lost) {
        error = ConnectError{Code::internal, "the output was lost for want of memory, and the process ended"};
    } else if (process->end()) {
        append_end_event(out, *process->end());
    }
    deadline.cancel();
    co_await end_stream(exchange, std::move(error), std::move(out));
}

struct StartCall {
    CommandSpec spec;
    CommandSpec asked;  // without what we add
    std::string tag;
};

std::string own_path(const CommandEnvironment& commands) {
    for (const auto& [name, value] : commands.base_env) {
        if (name == "PATH") return value;
    }
    return kDefaultPath;
}

Reply<StartCall> parse_start(const Message& request, const Context& context) {
    StartCall call;
    Reply<std::unique_ptr<Message>> process = request.message("process");
    if (!process) return process.error();
    if (!*process) return ConnectError{Code::invalid_argument, "process is required"};
    Reply<std::string> program = (*process)->text("cmd");
    Reply<std::vector<std::string>> arguments = (*process)->texts("args");
    Reply<Settings::Variables> variables = (*process)->text_map("envs");
    Reply<std::string> cwd = (*process)->text("cwd");
    Reply<std::string> tag = request.text("tag");
    Reply<bool> input = request.flag("stdin", true);
    Reply<std::unique_ptr<Message>> pty = request.message("pty");
    if (auto error = first_error(program, arguments, variables, cwd, tag, input, pty)) return *error;
    call.spec.args = std::move(*arguments);
    call.spec.args.insert(call.spec.args.begin(), std::move(*program));
    call.spec.clean_env = true;
    call.spec.env = std::move(*variables);
    call.spec.cwd = std::move(*cwd);
    call.spec.stdin_mode = *input ? StdinMode::pipe : StdinMode::null;
    call.tag = std::move(*tag);
    if (*pty) {
        Reply<std::optional<PtySize>> size = parse_pty_size(**pty);
        if (!size) return size.error();
        call.spec.pty = size->value_or(PtySize());
    }
    call.asked = call.spec;
    Settings::Variables& env = call.spec.env;
    Settings::Variables ours = context.settings.all_variables();
    ours.insert(ours.begin(), {"PATH", own_path(context.commands)});
    env.insert(env.begin(), ours.begin(), ours.end());
    return call;
}

// Fills in what depends on the account. Blocking.
Reply<> settle_user(StartCall& call, const Caller& caller) {
    std::optional<User> user = find_account(caller);
    if (!user) return unknown_user(caller);
    call.spec.user = user->name;
    Result<std::string> cwd = resolve_path(call.asked.cwd, *user, caller);
    if (!cwd) return to_connect_error(cwd.error());
    struct stat info {};
    bool there =
        cwd->find('\0') == std::string::npos && ::stat(cwd->c_str(), &info) == 0 && S_ISDIR(info.st_mode);
    call.spec.cwd = *cwd;
    if (there) return Reply<>();
    if (!call.asked.cwd.empty())
        return ConnectError{Code::invalid_argument, "cwd '" + *cwd + "' does not exist"};
    call.spec.cwd = "/";  // An account without its home still runs commands.
    return Reply<>();
}

// A program that cannot be executed is a command that fails, with a shell's exit code and words for it.
CommandSpec told_by_shell(const CommandSpec& spec) {
    CommandSpec through = spec;
    through.args = {"/bin/sh", "-c", "exec \"$@\"", "--"};
    through.args.insert(through.args.end(), spec.args.begin(), spec.args.end());
    return through;
}

// Not for want of something, which a shell would want, too.
bool cannot_be_executed(const CommandError& error) {
    return error.kind == CommandError::Kind::not_started && error.error.code != Errc::too_large &&
           error.error.code != Errc::resource_exhausted;
}

ConnectError start_error(const CommandError& error) {
    // No retry helps, as resource_exhausted would have it.
    if (error.error.sys_errno == E2BIG) return {Code::invalid_argument, error.error.message};
    switch (error.kind) {
        case CommandError::Kind::bad_cwd:
            return {Code::invalid_argument, error.error.message};
        case CommandError::Kind::bad_user:
            return {Code::unauthenticated, error.error.message};
        default:
            return to_connect_error(error.error);
    }
}

}  // namespace

Task<> handle_start(net::Exchange& exchange, Context& context) {
    std::unique_ptr<StreamRequest> request = co_await read_stream_request(exchange, context);
    if (!request) co_return;
    Reply<StartCall> call = parse_start(*request->message, context);
    std::optional<ConnectError> error;
    if (!call) error = call.error();
    if (!error) {
        Caller caller = rpc_caller(exchange.request(), context.settings);
        auto job = [&] { return settle_user(*call, caller); };
        Reply<> settled = co_await context.file_pool.run(job);
        if (!settled) error = settled.error();
    }
    if (error) {
        co_await end_stream(exchange, std::move(error));
        co_return;
    }
    std::shared_ptr<OutputHub> hub = context.processes.make_hub();
    std::shared_ptr<Subscription> subscription = hub->subscribe();
    CommandSpec spec = call->spec;
    std::optional<CommandSpec> told = call->asked;
    auto started = co_await context.processes.start(std::move(spec), Dialect::envd, call->tag, hub, told);
    if (!started && cannot_be_executed(started.error())) {
        CommandSpec through = told_by_shell(call->spec);
        started = co_await context.processes.start(std::move(through), Dialect::envd, call->tag, hub, told);
    }
    if (!started) {
        error = start_error(started.error());
        co_await end_stream(exchange, std::move(error));
        co_return;
    }
    std::shared_ptr<ManagedProcess> process = *started;
    request->message.reset();
    co_await stream_events(exchange, context, std::move(process), std::move(subscription), *request, true);
}

Task<> handle_connect(net::Exchange& exchange, Context& context) {
    std::unique_ptr<StreamRequest> request = co_await read_stream_request(exchange, context);
    if (!request) co_return;
    auto found = find_process(context.processes, *request->message, Lookup::or_just_ended);
    if (!found) {
        std::optional<ConnectError> error = found.error();
        co_await end_stream(exchange, std::move(error));
        co_return;
    }
    std::shared_ptr<ManagedProcess> process = *found;
    std::shared_ptr<Subscription> subscription = process->output().subscribe();
    co_await stream_events(exchange, context, std::move(process), std::move(subscription), *request, false);
}

}  // namespace sandbox::e2b
