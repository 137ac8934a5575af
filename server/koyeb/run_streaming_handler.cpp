// POST /run_streaming: a command's output as server-sent events while it runs, and its end.

#include <signal.h>

#include <exception>

#include "base/uuid.hpp"
#include "koyeb/command_request.hpp"
#include "koyeb/handlers.hpp"
#include "koyeb/sse_writer.hpp"

namespace sandbox::koyeb {
namespace {

void append_complete_event(std::string& out, const CommandEnd& end, bool stats) {
    out += "event: complete\ndata: ";
    JsonWriter writer(out, JsonCharset::ascii);
    int code = told_code(end);
    writer.begin_object().member("code", code).member("error", code != 0);
    write_end_members(writer, end, stats);
    writer.end_object();
    out += "\n\n";
}

void append_start_event(std::string& out, std::string_view id, pid_t pid) {
    out += "event: start\ndata: ";
    JsonWriter(out, JsonCharset::ascii).begin_object().member("id", id).member("pid", pid).end_object();
    out += "\n\n";
}

// A command's place in Context::streamed.
class StreamedEntry {
  public:
    StreamedEntry(Context& context, const std::shared_ptr<Command>& command)
        : context_(context), id_(uuid_v4()) {
        context_.streamed.emplace(id_, command);
    }
    ~StreamedEntry() { context_.streamed.erase(id_); }
    StreamedEntry(const StreamedEntry&) = delete;
    StreamedEntry& operator=(const StreamedEntry&) = delete;
    const std::string& id() const { return id_; }

  private:
    Context& context_;
    const std::string id_;
};

// A request that is wrong gets an error answer; what comes of one that is right is told by an event.
Task<> tell_not_started(net::Exchange& exchange, SseWriter& writer, const CommandRequest& request,
                        CommandError error) {
    switch (error.kind) {
        case CommandError::Kind::timed_out:
            append_complete_event(writer.buffer(), timed_out_at_start(request.spec), request.stats);
            break;
        case CommandError::Kind::not_started:
            append_error_event(writer.buffer(), not_started_message(error.error));
            break;
        default:
            co_await respond_start_error(exchange, error);
            co_return;
    }
    co_await writer.begin();
    co_await writer.finish();
}

// As a terminal line that breaks does it: shells end at once, and tell their jobs.
Task<> hang_up(std::shared_ptr<Command> command, Milliseconds grace) {
    (void)co_await command->signal(SIGHUP, false);
    command->start_terminating(grace);
}

// From the command's start to the last event.
Task<> stream(net::Exchange& exchange, Context& context, std::shared_ptr<Command> command,
              CommandRequest& request, SseWriter& writer, SseSink& sink) {
    start_feeding(context, command, request);
    std::optional<StreamedEntry> entry;
    if (request.open_stdin) {
        entry.emplace(context, command);
        append_start_event(writer.buffer(), entry->id(), command->pid());
    }
    if (!request.keep_on_disconnect) {
        exchange.watch_disconnect([command, &context] {
            if (!command->has_pty()) return command->start_terminating(context.commands.kill_grace);
            spawn_task(context.loop, "hang-up", hang_up(command, context.commands.kill_grace));
        });
    }
    co_await writer.begin();
    if (entry) co_await writer.flush();
    command->attach_sink(sink.shared_from_this());
    writer.keep_alive(request.keepalive);
    CommandEnd end = co_await command->wait(EndRule::exit_and_drain);
    co_await command->detach_sink();
    end.output_lost = command->output_lost();
    sink.stop();
    if (end.output_lost) {
        exchange.abort();  // The last event may be half an event.
        co_await writer.finish();
        co_return;
    }
    sink.finish();
    if (end.survives) {
        append_error_event(writer.buffer(), survives_message(command->pid()));
    } else {
        append_complete_event(writer.buffer(), end, request.stats);
    }
    co_await writer.finish();
}

}  // namespace

Task<> handle_run_streaming(net::Exchange& exchange, Context& context) {
    std::unique_ptr<CommandRequest> request =
        co_await read_command_request(exchange, context, InputForm::terminal);
    if (!request) co_return;
    SseWriter writer(exchange, context.loop);
    SseSink::Options options;
    options.base64 = request->base64;
    options.flush = request->flush;
    auto sink = std::make_shared<SseSink>(writer, context.loop, options);
    CommandSpec spec = request->spec;
    // Held back until the head is out, because output may come first.
    PendingStart pending;
    if (!request->keep_on_disconnect) exchange.watch_disconnect([&pending] { pending.give_up(); });
    auto started =
        co_await Command::start(context.commands, std::move(spec), nullptr, StartRule::at_once, &pending);
    if (!started) {
        co_await tell_not_started(exchange, writer, *request, started.error());
        co_return;
    }
    const std::shared_ptr<Command>& command = *started;
    std::exception_ptr failure;
    try {
        co_await stream(exchange, context, command, *request, writer, *sink);
    } catch (...) {
        failure = std::current_exception();
    }
    if (!failure) co_return;
    // Out of memory. The sink, which the command may be writing to, uses the writer.
    const bool begun = exchange.answered();
    if (begun) exchange.abort();
    command->start_terminating(Milliseconds(0));
    co_await command->detach_sink();
    if (begun) co_await writer.finish();
    std::rethrow_exception(failure);
}

}  // namespace sandbox::koyeb
