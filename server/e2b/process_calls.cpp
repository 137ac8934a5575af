// process.Process: List, SendInput, CloseStdin, SendSignal, Update, and StreamInput.

#include <signal.h>

#include "base/json_writer.hpp"
#include "e2b/envelope.hpp"
#include "e2b/handlers.hpp"
#include "e2b/process_lookup.hpp"

namespace sandbox::e2b {
namespace {

// Clients look for the process right after SIGKILL was answered; it ends at once unless the kernel holds it.
constexpr Milliseconds kKillPatience{1000};
constexpr std::size_t kInputInMemory = 256 * 1024;  // of one call

void write_process(JsonWriter& writer, const ManagedProcess& process) {
    const CommandSpec& spec = process.spec();
    writer.begin_object().key("config").begin_object();
    // A command of /start_process may be a line for the shell.
    const std::vector<std::string> words =
        spec.args.empty() ? std::vector<std::string>{"sh", "-c", spec.shell_command} : spec.args;
    writer.member("cmd", words[0]).key("args").begin_array();
    for (std::size_t i = 1; i < words.size(); ++i) writer.value(words[i]);
    writer.end_array().key("envs").begin_object();
    for (const auto& [name, value] : spec.env) writer.member(name, value);
    writer.end_object();
    if (!spec.cwd.empty()) writer.member("cwd", spec.cwd);
    writer.end_object();
    writer.member("pid", process.pid());
    if (!process.tag().empty()) writer.member("tag", process.tag());
    writer.end_object();
}

ConnectError input_error(std::string_view stream, std::string_view why) {
    return {Code::internal, "error writing to " + std::string(stream) + ": " + std::string(why)};
}

// The bytes of {"stdin":…} or {"pty":…}, where `process` takes them.
Reply<std::string> parse_input(const ManagedProcess& process, const Message& request) {
    Reply<std::unique_ptr<Message>> input = request.message("input");
    if (!input) return input.error();
    bool to_stdin = *input && (*input)->has("stdin");
    bool to_pty = *input && (*input)->has("pty");
    if (!to_stdin && !to_pty) return ConnectError{Code::unimplemented, "invalid input type"};
    Reply<std::string> bytes = (*input)->bytes(to_stdin ? "stdin" : "pty");
    if (!bytes) return bytes.error();
    if (to_pty && !process.spec().pty) return input_error("tty", "tty not assigned to process");
    if (to_stdin && process.spec().pty) return input_error("stdin", "tty assigned to process");
    if (to_stdin && !process.command().stdin_open())
        return input_error("stdin", "stdin not enabled or closed");
    return bytes;
}

// A process need not read for as long as it likes, so what waits for it is not kept in memory. `request` goes
// as soon as its bytes are known.
Task<Reply<>> write_input(Context& context, std::shared_ptr<ManagedProcess> process,
                          std::unique_ptr<Message> request) {
    Reply<std::string> bytes = parse_input(*process, *request);
    request.reset();
    if (!bytes) co_return bytes.error();
    if (bytes->empty()) co_return Reply<>();
    const char* stream = process->spec().pty ? "tty" : "stdin";
    if (bytes->size() <= kInputInMemory) {
        Result<> written = co_await process->command().write_stdin(std::move(*bytes));
        if (!written) co_return input_error(stream, written.error().message);
        co_return Reply<>();
    }
    const Command::InputPlace place(process->shared_command());
    Spool spool(context.file_pool, context.spill_dir, kInputInMemory);
    std::uint64_t done = 0;
    Result<> written = co_await spool.append(*bytes);
    std::string().swap(*bytes);
    if (written) written = co_await process->command().write_stdin(place, spool, done);
    if (!written) co_return input_error(stream, written.error().message);
    co_return Reply<>();
}

constexpr const char* kEmpty = "{}";

}  // namespace

Task<Reply<std::string>> list_processes(UnaryCall& call) {
    std::string body;
    JsonWriter writer(body);
    writer.begin_object().key("processes").begin_array();
    for (const auto& process : call.context.processes.list()) {
        const bool runs = process->dialect() == Dialect::envd || process->state() == ProcessState::running;
        if (runs && process->lasts()) write_process(writer, *process);
    }
    writer.end_array().end_object();
    co_return body;
}

Task<Reply<std::string>> send_input(UnaryCall& call) {
    auto process = find_process(call.context.processes, *call.message, Lookup::running);
    if (!process) co_return process.error();
    Reply<> written = co_await write_input(call.context, *process, std::move(call.message));
    if (!written) co_return written.error();
    co_return kEmpty;
}

Task<Reply<std::string>> close_stdin(UnaryCall& call) {
    auto process = find_process(call.context.processes, *call.message, Lookup::running);
    if (!process) co_return process.error();
    if ((*process)->spec().pty) {
        co_return ConnectError{Code::unknown,
                               "error closing stdin: cannot close stdin for PTY process \xE2\x80\x94 send "
                               "Ctrl+D (0x04) instead"};
    }
    if (Result<> closed = (*process)->command().close_stdin(); !closed) {
        co_return ConnectError{Code::unknown, "error closing stdin: " + closed.error().message};
    }
    co_return kEmpty;
}

Task<Reply<std::string>> send_signal(UnaryCall& call) {
    auto found = find_process(call.context.processes, *call.message, Lookup::running);
    if (!found) co_return found.error();
    Reply<std::string> name = call.message->name_or_number("signal");
    if (!name) co_return name.error();
    int signal = 0;
    if (*name == "SIGNAL_SIGKILL" || *name == "9") signal = SIGKILL;
    if (*name == "SIGNAL_SIGTERM" || *name == "15") signal = SIGTERM;
    if (signal == 0) {
        std::string shown = name->empty() ? "SIGNAL_UNSPECIFIED" : *name;
        co_return ConnectError{Code::unimplemented, "invalid signal: " + shown};
    }
    const std::shared_ptr<ManagedProcess>& process = *found;
    Result<> sent = co_await process->command().signal(signal, false);
    // Without its leader a process lasts only as long as somebody holds its pipes: this ends it.
    process->end_early();
    if (!sent && !process->command().has_exited()) {
        co_return ConnectError{Code::internal, "error sending signal: " + sent.error().message};
    }
    auto patience = std::chrono::steady_clock::now() + kKillPatience;
    while (signal == SIGKILL && !process->command().has_exited()) {
        auto rest = std::chrono::ceil<Milliseconds>(patience - std::chrono::steady_clock::now());
        if (rest.count() <= 0) break;
        co_await process->changed().wait_for(rest);
    }
    co_return kEmpty;
}

Task<Reply<std::string>> update_process(UnaryCall& call) {
    auto process = find_process(call.context.processes, *call.message, Lookup::running);
    if (!process) co_return process.error();
    Reply<std::unique_ptr<Message>> pty = call.message->message("pty");
    if (!pty) co_return pty.error();
    if (!*pty) co_return kEmpty;
    constexpr const char* kRefused = "error resizing tty: ";
    if (!(*process)->spec().pty) {
        co_return ConnectError{Code::internal, std::string(kRefused) + "tty not assigned to process"};
    }
    Reply<std::optional<PtySize>> size = parse_pty_size(**pty);
    if (!size) co_return size.error();
    if (!*size) co_return kEmpty;
    if (Result<> resized = (*process)->command().resize(**size); !resized) {
        co_return ConnectError{Code::internal, kRefused + resized.error().message};
    }
    co_return kEmpty;
}

namespace {

// The messages of a client stream one by one: first which process, then input for it.
Task<Reply<>> run_stream_input(net::Exchange& exchange, Context& context) {
    if (auto wrong = co_await check_call(exchange.request(), context)) co_return *wrong;
    EnvelopeReader reader(kMaxMessage);
    std::shared_ptr<ManagedProcess> process;
    exchange.limit_body(0);  // A stream has no size, and no pace.
    exchange.wait_for_body();
    for (;;) {
        Result<std::string_view> piece = co_await exchange.read_body();
        if (!piece) co_return to_connect_error(piece.error());
        if (piece->empty()) break;
        reader.feed(*piece);
        for (;;) {
            Result<std::optional<Envelope>> envelope = reader.next();
            if (!envelope) co_return to_connect_error(envelope.error());
            if (!*envelope) break;
            if (((*envelope)->flags & kEndStreamFlag) != 0) co_return Reply<>();
            if ((*envelope)->flags != kMessageFlags) {
                co_return ConnectError{Code::invalid_argument, "protocol error: unsupported envelope flags"};
            }
            Reply<std::unique_ptr<Message>> message = Message::parse((*envelope)->payload);
            if (!message) co_return message.error();
            std::string().swap((*envelope)->payload);
            Reply<std::unique_ptr<Message>> start = (*message)->message("start");
            Reply<std::unique_ptr<Message>> data = (*message)->message("data");
            if (auto error = first_error(start, data)) co_return *error;
            if (*start) {
                auto found = find_process(context.processes, **start, Lookup::running);
                if (!found) co_return found.error();
                process = *found;
            } else if (*data) {
                if (!process) co_return ConnectError{Code::invalid_argument, "data before start"};
                message->reset();
                Reply<> written = co_await write_input(context, process, std::move(*data));
                if (!written) co_return written.error();
            } else if (!(*message)->has("keepalive")) {
                co_return ConnectError{Code::unimplemented, "invalid event type"};
            }
        }
    }
    if (!reader.at_boundary()) {
        co_return ConnectError{Code::invalid_argument, "protocol error: incomplete envelope"};
    }
    co_return Reply<>();
}

}  // namespace

Task<> handle_stream_input(net::Exchange& exchange, Context& context) {
    if (!co_await check_content_type(exchange, "application/connect+json")) co_return;
    Reply<> done = co_await run_stream_input(exchange, context);
    std::optional<ConnectError> error;
    if (!done) error = done.error();
    std::string answer;
    if (!error) append_envelope(answer, kMessageFlags, "{}");
    co_await end_stream(exchange, std::move(error), std::move(answer));
}

}  // namespace sandbox::e2b
