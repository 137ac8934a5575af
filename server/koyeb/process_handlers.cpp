// Background processes: start, list, look at, signal, kill, and write to.

#include <algorithm>
#include <boost/asio/post.hpp>

#include "base/json_escape.hpp"
#include "base/json_writer.hpp"
#include "base/rfc3339.hpp"
#include "koyeb/command_request.hpp"
#include "koyeb/handlers.hpp"

namespace sandbox::koyeb {
namespace {

std::string timestamp(std::chrono::system_clock::time_point at) {
    return format_rfc3339(
        std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count());
}

// When a command does not run, the answer has the members of one that does, and "error".
Task<bool> respond_not_started(net::Exchange& exchange, const CommandError& error) {
    if (error.kind != CommandError::Kind::not_started && error.kind != CommandError::Kind::timed_out)
        return respond_start_error(exchange, error);
    std::string body;
    JsonWriter writer(body);
    writer.begin_object().member("id", "").member("pid", 0).member("status", "");
    writer.member("error", "failed to start command: " + error.error.message).member("success", false);
    writer.end_object();
    return respond_json(exchange, 500, std::move(body));
}

std::string not_running(const ManagedProcess& process) {
    return std::string("process is not running (status: ") + state_name(process.state()) + ")";
}

constexpr std::size_t kPiece = 96 * 1024;  // of a command per write of an answer

// An answer that tells commands, each of which may be megabytes long: what has gathered goes out in pieces.
class CommandsAnswer {
  public:
    CommandsAnswer(net::Exchange& exchange, Loop& loop) : exchange_(exchange), loop_(loop) {}

    std::string& text() { return text_; }
    // All of these: false when the peer is gone.
    Task<bool> member_command(std::string command) {
        text_ += "\"command\":\"";
        JsonEscaper escaper(JsonCharset::utf8);
        for (std::string_view rest = command; !rest.empty();
             rest.remove_prefix(std::min(kPiece, rest.size()))) {
            escaper.append(text_, rest.substr(0, kPiece));
            const bool alive = co_await flow();
            if (!alive) co_return false;
        }
        escaper.finish(text_);
        text_ += '"';
        co_return true;
    }
    Task<bool> finish() {
        if (!exchange_.answered())
            co_return co_await exchange_.respond(200, "application/json", std::move(text_));
        const bool alive = co_await exchange_.write(text_);
        if (!alive) co_return false;
        co_return co_await exchange_.finish();
    }

  private:
    Task<bool> flow() {
        if (text_.size() < kPiece) co_return true;
        if (!exchange_.answered()) {
            const bool alive = co_await exchange_.begin(200, "application/json");
            if (!alive) co_return false;
        }
        const bool alive = co_await exchange_.write(text_);
        text_.clear();
        co_await boost::asio::post(loop_, use_task);
        co_return alive;
    }

    net::Exchange& exchange_;
    Loop& loop_;
    std::string text_;
};

// The seven documented members and no other, all behind "command": the Python SDK splats them into a
// dataclass.
void append_list_entry(std::string& text, const ManagedProcess& process) {
    text += ',';
    JsonWriter writer(text);
    if (process.ended_at()) writer.member("completed_at", timestamp(*process.ended_at()));
    if (process.end()) writer.member("exit_code", told_code(*process.end()));
    writer.member("id", process.id());
    writer.member("pid", process.pid());
    writer.member("started_at", timestamp(process.started_at()));
    writer.member("status", state_name(process.state()));
    text += '}';
}

// Everything behind "command".
void append_details(std::string& text, const ManagedProcess& process) {
    const CommandSpec& spec = process.spec();
    text += ',';
    JsonWriter writer(text);
    if (!spec.args.empty()) {
        writer.key("args").begin_array();
        for (const std::string& word : spec.args) writer.value(word);
        writer.end_array();
    }
    writer.member("cwd", spec.cwd).member("tag", process.tag()).member("user", spec.user);
    writer.member("stdin_open", process.command().stdin_open());
    writer.member("started_at", timestamp(process.started_at()));
    if (process.ended_at()) writer.member("completed_at", timestamp(*process.ended_at()));
    writer.member("stdout_bytes", process.command().bytes_out(StreamId::stdout_));
    writer.member("stderr_bytes", process.command().bytes_out(StreamId::stderr_));
    writer.member("log_first_id", process.log().first_id()).member("log_next_id", process.log().next_id());
    if (process.end()) {
        writer.member("exit_code", told_code(*process.end()));
        write_end_members(writer, *process.end(), true);
    }
    text += "}\n";
}

struct Target {
    std::unique_ptr<Body> body;
    std::shared_ptr<ManagedProcess> process;
    std::shared_ptr<Command> streamed;  // instead of a process: a command of /run_streaming
};

// Reads a body with an "id" and finds its process, or for /send_stdin its command; answers what is wrong and
// returns null otherwise.
Task<std::unique_ptr<Target>> read_target(net::Exchange& exchange, Context& context,
                                          std::string_view large_key = {}) {
    auto target = std::make_unique<Target>();
    target->body = co_await read_json(exchange, context, large_key);
    if (!target->body) co_return nullptr;
    Result<std::string> id = target->body->fields.string_or("id", "");
    if (!id) {
        co_await respond_invalid(exchange, id.error().message);
        co_return nullptr;
    }
    if (id->empty()) {
        co_await net::respond_error(exchange, 400, "Process ID is required");
        co_return nullptr;
    }
    target->process = context.processes.find(*id);
    if (auto found = context.streamed.find(*id); !large_key.empty() && found != context.streamed.end())
        target->streamed = found->second;
    if (!target->process && !target->streamed) {
        co_await respond_process_error(exchange, 400, "process not found: " + *id);
        co_return nullptr;
    }
    co_return target;
}

struct StdinRequest {
    bool base64 = false;
    bool close = false;
    std::optional<PtySize> size;
};

Result<StdinRequest> parse_stdin(const JsonFields& fields) {
    StdinRequest input;
    std::optional<Error> error;
    take(fields.string_or("data", ""), error);  // Text was diverted; nothing else will do.
    input.base64 = take(wants_base64(fields, "encoding"), error);
    input.close = take(value_or(fields.boolean("close")), error);
    input.size = take(terminal_size(fields), error);
    if (error) return *error;
    return input;
}

}  // namespace

Task<> handle_start_process(net::Exchange& exchange, Context& context) {
    std::unique_ptr<CommandRequest> request =
        co_await read_command_request(exchange, context, InputForm::pipe);
    if (!request) co_return;
    CommandSpec spec = request->spec;
    auto started = co_await context.processes.start(std::move(spec), Dialect::koyeb, request->tag);
    if (!started) {
        co_await respond_not_started(exchange, started.error());
        co_return;
    }
    (*started)->tell_bytes(request->base64);
    start_feeding(context, (*started)->shared_command(), *request);
    std::string body;
    JsonWriter writer(body);
    writer.begin_object().member("id", (*started)->id()).member("pid", (*started)->pid());
    writer.member("status", state_name(ProcessState::running)).member("success", true).end_object();
    co_await respond_json(exchange, 201, std::move(body));
}

Task<> handle_list_processes(net::Exchange& exchange, Context& context) {
    const bool all = exchange.request().query("all") == "true";
    CommandsAnswer answer(exchange, context.loop);
    std::string& text = answer.text();
    text = "{\"processes\":[";
    // Whoever reads slowly keeps nothing that the table has let go of.
    std::vector<std::weak_ptr<ManagedProcess>> listed;
    for (const auto& process : context.processes.list()) {
        if (all || process->dialect() == Dialect::koyeb) listed.emplace_back(process);
    }
    bool first = true;
    for (const auto& held : listed) {
        std::shared_ptr<ManagedProcess> process = held.lock();
        if (!process) continue;
        std::string command = process->command_text();
        std::string rest;
        append_list_entry(rest, *process);
        process.reset();
        text += first ? "{" : ",{";
        first = false;
        const bool alive = co_await answer.member_command(std::move(command));
        if (!alive) co_return;
        text += rest;
    }
    text += "]}\n";
    co_await answer.finish();
}

Task<> handle_get_process(net::Exchange& exchange, Context& context) {
    std::optional<std::string> id = exchange.request().query("id");
    if (!id || id->empty()) {
        co_await net::respond_error(exchange, 400, "Process ID is required");
        co_return;
    }
    std::shared_ptr<ManagedProcess> process = context.processes.find(*id);
    if (!process) {
        co_await net::respond_error(exchange, 404, "process not found: " + *id);
        co_return;
    }
    CommandsAnswer answer(exchange, context.loop);
    JsonWriter writer(answer.text());
    writer.begin_object().member("id", process->id()).member("pid", process->pid());
    writer.member("status", state_name(process->state()));
    answer.text() += ',';
    // All of one moment, before the first suspension.
    std::string details;
    append_details(details, *process);
    const bool alive = co_await answer.member_command(process->command_text());
    if (!alive) co_return;
    answer.text() += details;
    co_await answer.finish();
}

Task<> handle_kill_process(net::Exchange& exchange, Context& context) {
    std::unique_ptr<Target> target = co_await read_target(exchange, context);
    if (!target) co_return;
    std::shared_ptr<ManagedProcess> process = target->process;
    KillOutcome outcome = co_await process->command().terminate(context.commands.kill_grace);
    switch (outcome) {
        case KillOutcome::gone:
            // The table tells of the end before we do.
            while (!process->end()) co_await process->changed().wait();
            co_await respond_success(exchange, "Process killed successfully");
            break;
        case KillOutcome::nothing_left:
            co_await respond_process_error(exchange, 400, not_running(*process));
            break;
        case KillOutcome::survivors:
            co_await respond_process_error(exchange, 500, survives_message(process->pid()));
            break;
    }
}

Task<> handle_signal_process(net::Exchange& exchange, Context& context) {
    std::unique_ptr<Target> target = co_await read_target(exchange, context);
    if (!target) co_return;
    const JsonFields& fields = target->body->fields;
    std::optional<Error> error;
    const std::string name = take(text_or_number(fields, "signal"), error);
    const bool tree = take(value_or(fields.boolean("tree")), error);
    if (error) {
        co_await respond_invalid(exchange, error->message);
        co_return;
    }
    int number = signal_number(name);
    if (number == 0) {
        std::string message = name.empty() ? "Signal is required" : "unknown signal: " + name;
        co_await net::respond_error(exchange, 400, message);
        co_return;
    }
    Result<> sent = co_await target->process->command().signal(number, tree);
    if (!sent) {
        bool gone = sent.error().code == Errc::failed_precondition;
        std::string message = gone ? not_running(*target->process) : sent.error().message;
        co_await respond_process_error(exchange, 400, message);
        co_return;
    }
    co_await respond_success(exchange, "Signal sent");
}

Task<> handle_send_stdin(net::Exchange& exchange, Context& context) {
    std::unique_ptr<Target> target = co_await read_target(exchange, context, "data");
    if (!target) co_return;
    Result<StdinRequest> input = parse_stdin(target->body->fields);
    if (!input) {
        co_await respond_invalid(exchange, input.error().message);
        co_return;
    }
    auto data = co_await take_large(context, *target->body, "data", input->base64);
    if (!data) {
        co_await respond_body_error(exchange, data.error());
        co_return;
    }
    std::shared_ptr<ManagedProcess> process = target->process;
    std::shared_ptr<Command> command = target->streamed;
    if (!command) command = process->shared_command();
    std::optional<std::string> refused;
    if (!command->stdin_open()) {
        refused = process && process->end() ? not_running(*process) : "stdin is not open";
    } else if (input->size) {
        if (Result<> resized = command->resize(*input->size); !resized) refused = resized.error().message;
    }
    if (refused) {
        co_await respond_process_error(exchange, 400, *refused);
        co_return;
    }
    // A process that does not read must not keep what a client that has left was sending.
    bool gone = false;
    exchange.watch_disconnect([&gone, command] {
        gone = true;
        command->wake_stdin_writers();
    });
    std::uint64_t done = 0;
    Result<> written = co_await command->write_stdin(**data, done, &gone);
    if (gone) co_return;
    if (!written) {
        std::string message = "stdin closed by the process after " + std::to_string(done) +
                              " bytes: " + written.error().message;
        co_await respond_process_error(exchange, 400, message);
        co_return;
    }
    if (input->close) {
        if (Result<> closed = command->close_stdin(); !closed) {
            co_await respond_process_error(exchange, 400, closed.error().message);
            co_return;
        }
    }
    std::string body;
    JsonWriter(body).begin_object().member("success", true).member("bytes", done).end_object();
    co_await respond_json(exchange, 200, std::move(body));
}

}  // namespace sandbox::koyeb
