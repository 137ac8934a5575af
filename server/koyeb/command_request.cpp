#include "koyeb/command_request.hpp"

#include <cmath>

namespace sandbox::koyeb {
namespace {

Result<Milliseconds> seconds_field(const JsonFields& fields, const char* name) {
    Result<std::optional<double>> value = fields.number(name);
    if (!value) return value.error();
    if (!*value) return Milliseconds(0);
    if (!(**value >= 0) || **value > 1e9)
        return Error{Errc::invalid_argument, std::string(name) + " must be 0 to 1000000000 seconds", 0};
    return Milliseconds(static_cast<std::int64_t>(std::ceil(**value * 1000)));
}

// A "stdin" that is no text: whether it is to be kept open.
Result<bool> stdin_field(const JsonFields& fields, bool may_stay_open) {
    if (Result<bool> flag = value_or(fields.boolean("stdin")); flag && (may_stay_open || !*flag)) return flag;
    const char* message =
        may_stay_open ? "stdin must be a string, or true to keep it open" : "stdin must be a string";
    return Error{Errc::invalid_argument, message, 0};
}

#define SANDBOX_TRY(target, expression)       \
    do {                                      \
        auto result_ = (expression);          \
        if (!result_) return result_.error(); \
        (target) = std::move(*result_);       \
    } while (false)

Result<> fill_request(const JsonFields& fields, CommandRequest& request) {
    CommandSpec& spec = request.spec;
    SANDBOX_TRY(spec.shell_command, fields.string_or("cmd", ""));
    SANDBOX_TRY(spec.args, value_or(fields.string_list("args")));
    SANDBOX_TRY(spec.env, value_or(fields.string_map("env")));
    SANDBOX_TRY(spec.cwd, fields.string_or("cwd", ""));
    SANDBOX_TRY(spec.user, fields.string_or("user", ""));
    SANDBOX_TRY(request.tag, fields.string_or("tag", ""));
    SANDBOX_TRY(spec.timeout, seconds_field(fields, "timeout"));
    SANDBOX_TRY(request.keepalive, seconds_field(fields, "keepalive"));
    SANDBOX_TRY(request.stats, value_or(fields.boolean("stats")));
    SANDBOX_TRY(request.base64, wants_base64(fields, "encoding"));
    std::optional<double> flush;
    SANDBOX_TRY(flush, fields.number("flush_ms"));
    if (flush && (!(*flush >= 0) || *flush > 1e9))
        return Error{Errc::invalid_argument, "flush_ms must be 0 to 1000000000 milliseconds", 0};
    if (flush) request.flush = Milliseconds(static_cast<std::int64_t>(*flush));
    std::string on_disconnect;
    SANDBOX_TRY(on_disconnect, fields.string_or("on_disconnect", ""));
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
    bool wanted = false;
    SANDBOX_TRY(wanted, value_or(fields.boolean("tty")));
    if (!wanted) return Result<>();
    if (has_text) return Error{Errc::invalid_argument, "a terminal takes no text for stdin", 0};
    std::optional<PtySize> size;
    SANDBOX_TRY(size, terminal_size(fields));
    request.spec.pty = size.value_or(PtySize());
    request.open_stdin = true;
    return Result<>();
}

Task<> feed_stdin(std::shared_ptr<Command> command, std::unique_ptr<Spool> bytes) {
    std::uint64_t done = 0;
    (void)co_await command->write_stdin(*bytes, done);  // A command need not read all that it is given.
    command->close_stdin();
}

}  // namespace

Result<std::optional<PtySize>> terminal_size(const JsonFields& fields) {
    PtySize size;
    bool given = false;
    for (auto [name, member] : {std::pair{"cols", &size.columns}, {"rows", &size.rows}}) {
        std::optional<std::int64_t> number;
        SANDBOX_TRY(number, fields.integer(name));
        if (!number) continue;
        if (*number < 1 || *number > 65535)
            return Error{Errc::invalid_argument, std::string(name) + " must be from 1 to 65535", 0};
        *member = static_cast<std::uint16_t>(*number);
        given = true;
    }
    return given ? std::optional(size) : std::nullopt;
}

Task<std::unique_ptr<CommandRequest>> read_command_request(net::Exchange& exchange, Context& context,
                                                           InputForm form) {
    std::unique_ptr<Body> body = co_await read_json(exchange, context, "stdin");
    if (!body) co_return nullptr;
    auto request = std::make_unique<CommandRequest>();
    std::optional<Error> failure;
    if (Result<> filled = fill_request(body->fields, *request); !filled) failure = filled.error();
    if (!failure && form == InputForm::terminal) {
        Result<> filled = fill_terminal(body->fields, body->has_large, *request);
        if (!filled) failure = filled.error();
    }
    Result<bool> encoded = wants_base64(body->fields, "stdin_encoding");
    if (!failure && !encoded) failure = encoded.error();
    if (!failure && body->has_large) {
        request->spec.stdin_mode = StdinMode::pipe;
        request->stdin_bytes = std::move(body->large);
        if (*encoded) {
            auto decoded = co_await decode_base64(context, "stdin", std::move(request->stdin_bytes));
            if (!decoded) {
                failure = decoded.error();
            } else {
                request->stdin_bytes = std::move(*decoded);
            }
        }
    } else if (!failure) {
        Result<bool> keep_open = stdin_field(body->fields, form != InputForm::text);
        if (!keep_open) {
            failure = keep_open.error();
        } else if (*keep_open && !request->spec.pty) {
            request->spec.stdin_mode = StdinMode::pipe;
            request->open_stdin = true;
        }
    }
    if (failure) {
        co_await respond_body_error(exchange, *failure);
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
