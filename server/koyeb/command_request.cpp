#include "koyeb/command_request.hpp"

#include <cmath>
#include <new>

#include "base/log.hpp"

namespace sandbox::koyeb {
namespace {

// A number from 0 to 1e9; 0 when absent.
Result<double> amount_field(const JsonFields& fields, const char* name, const char* unit) {
    Result<double> value = value_or(fields.number(name));
    if (value && (*value < 0 || *value > 1e9))
        return Error{Errc::invalid_argument, std::string(name) + " must be 0 to 1000000000 " + unit, 0};
    return value;
}

Milliseconds from_seconds(double seconds) {
    return Milliseconds(static_cast<std::int64_t>(std::ceil(seconds * 1000)));
}

Result<> fill_request(const JsonFields& fields, CommandRequest& request) {
    CommandSpec& spec = request.spec;
    std::optional<Error> error;
    spec.shell_command = take(fields.string_or("cmd", ""), error);
    spec.args = take(value_or(fields.string_list("args")), error);
    spec.env = take(value_or(fields.string_map("env")), error);
    spec.cwd = take(fields.string_or("cwd", ""), error);
    spec.user = take(fields.string_or("user", ""), error);
    request.tag = take(fields.string_or("tag", ""), error);
    spec.timeout = from_seconds(take(amount_field(fields, "timeout", "seconds"), error));
    request.keepalive = from_seconds(take(amount_field(fields, "keepalive", "seconds"), error));
    request.stats = take(value_or(fields.boolean("stats")), error);
    request.base64 = take(wants_base64(fields, "encoding"), error);
    const double flush = take(amount_field(fields, "flush_ms", "milliseconds"), error);
    request.flush = Milliseconds(static_cast<std::int64_t>(flush));
    const std::string on_disconnect = take(fields.string_or("on_disconnect", ""), error);
    if (error) return *error;
    if (!on_disconnect.empty() && on_disconnect != "kill" && on_disconnect != "continue") {
        return Error{Errc::invalid_argument, "on_disconnect must be \"kill\" or \"continue\"", 0};
    }
    request.keep_on_disconnect = on_disconnect == "continue";
    if (!spec.args.empty() && !spec.shell_command.empty()) {
        return Error{Errc::invalid_argument, "cmd and args exclude each other", 0};
    }
    return Result<>();
}

// "tty", and the size of the terminal.
Result<> fill_terminal(const JsonFields& fields, bool has_text, CommandRequest& request) {
    Result<bool> wanted = value_or(fields.boolean("tty"));
    if (!wanted) return wanted.error();
    if (!*wanted) return Result<>();
    if (has_text) return Error{Errc::invalid_argument, "a terminal takes no text for stdin", 0};
    Result<std::optional<PtySize>> size = terminal_size(fields);
    if (!size) return size.error();
    request.spec.pty = size->value_or(PtySize());
    request.open_stdin = true;
    return Result<>();
}

// A "stdin" that is no text: whether it is to be kept open.
Result<> fill_open_stdin(const JsonFields& fields, InputForm form, CommandRequest& request) {
    const bool may_stay_open = form != InputForm::text;
    Result<bool> stays_open = value_or(fields.boolean("stdin"));
    if (!stays_open || (*stays_open && !may_stay_open)) {
        const char* message =
            may_stay_open ? "stdin must be a string, or true to keep it open" : "stdin must be a string";
        return Error{Errc::invalid_argument, message, 0};
    }
    if (*stays_open && !request.spec.pty) {
        request.spec.stdin_mode = StdinMode::pipe;
        request.open_stdin = true;
    }
    return Result<>();
}

Task<> feed_stdin(std::shared_ptr<Command> command, std::unique_ptr<Spool> bytes) {
    std::uint64_t done = 0;
    try {
        (void)co_await command->write_stdin(*bytes, done);  // A command need not read all that it is given.
        command->close_stdin();
    } catch (const std::bad_alloc& error) {  // It must not take a part for all of it.
        log::error("input of a command lost, which is ended",
                   {{"pid", command->pid()}, {"error", error.what()}});
        command->start_terminating(Milliseconds(0));
    }
}

}  // namespace

Result<std::optional<PtySize>> terminal_size(const JsonFields& fields) {
    PtySize size;
    bool given = false;
    for (auto [name, member] : {std::pair{"cols", &size.columns}, {"rows", &size.rows}}) {
        Result<std::optional<std::int64_t>> number = fields.integer(name);
        if (!number) return number.error();
        if (!*number) continue;
        if (**number < 1 || **number > 65535)
            return Error{Errc::invalid_argument, std::string(name) + " must be from 1 to 65535", 0};
        *member = static_cast<std::uint16_t>(**number);
        given = true;
    }
    return given ? std::optional(size) : std::nullopt;
}

Task<std::unique_ptr<CommandRequest>> read_command_request(net::Exchange& exchange, Context& context,
                                                           InputForm form) {
    std::unique_ptr<Body> body = co_await read_json(exchange, context, "stdin");
    if (!body) co_return nullptr;
    const JsonFields& fields = body->fields;
    auto request = std::make_unique<CommandRequest>();
    Result<> parsed = fill_request(fields, *request);
    if (parsed && form == InputForm::terminal) parsed = fill_terminal(fields, body->has_large, *request);
    Result<bool> base64 = wants_base64(fields, "stdin_encoding");
    if (parsed && !base64) parsed = base64.error();
    if (parsed && body->has_large) {
        request->spec.stdin_mode = StdinMode::pipe;
        auto bytes = co_await take_large(context, *body, "stdin", *base64);
        if (bytes) {
            request->stdin_bytes = std::move(*bytes);
        } else {
            parsed = bytes.error();
        }
    } else if (parsed) {
        parsed = fill_open_stdin(fields, form, *request);
    }
    if (!parsed) {
        co_await respond_body_error(exchange, parsed.error());
        co_return nullptr;
    }
    if (request->spec.shell_command.empty() && request->spec.args.empty()) {
        co_await net::respond_error(exchange, 400, "Command is required");
        co_return nullptr;
    }
    co_return request;
}

Task<bool> respond_start_error(net::Exchange& exchange, const CommandError& error) {
    if (error.kind == CommandError::Kind::bad_cwd || error.kind == CommandError::Kind::bad_user)
        return net::respond_error(exchange, 400, error.error.message);
    return net::respond_error(exchange, 500, not_started_message(error.error));
}

void start_feeding(Context& context, std::shared_ptr<Command> command, CommandRequest& request) {
    if (!request.stdin_bytes) return;
    spawn_task(context.loop, "stdin", feed_stdin(std::move(command), std::move(request.stdin_bytes)));
}

std::string not_started_message(const Error& error) { return "Failed to start command: " + error.message; }

std::string survives_message(pid_t pid) { return "process " + std::to_string(pid) + " survives SIGKILL"; }

CommandEnd timed_out_at_start(const CommandSpec& spec) {
    CommandEnd end;
    end.timed_out = true;
    end.duration = spec.timeout;
    return end;
}

int told_code(const CommandEnd& end) {
    int code = end.exit.status.code();
    return end.timed_out && code == 0 ? 124 : code;
}

void write_end_members(JsonWriter& writer, const CommandEnd& end, bool stats) {
    if (end.exit.status.signaled()) writer.member("signal", signal_name(end.exit.status.signal()));
    if (end.timed_out) writer.member("timed_out", true);
    if (end.oom_killed) writer.member("oom_killed", true);
    if (end.pipes_open) writer.member("pipes_open", true);
    if (!stats) return;
    auto milliseconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) * 1000.0 + static_cast<double>(t.tv_usec) / 1000.0;
    };
    writer.member("duration_ms", std::chrono::duration<double, std::milli>(end.duration).count());
    writer.member("user_cpu_ms", milliseconds(end.exit.usage.ru_utime));
    writer.member("system_cpu_ms", milliseconds(end.exit.usage.ru_stime));
    writer.member("max_rss_bytes", static_cast<std::int64_t>(end.exit.usage.ru_maxrss) * 1024);
}

}  // namespace sandbox::koyeb
