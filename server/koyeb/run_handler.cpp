// POST /run: a command, its whole output, and its end, in one answer.

#include <boost/asio/post.hpp>

#include "base/base64.hpp"
#include "base/json_escape.hpp"
#include "koyeb/command_request.hpp"
#include "koyeb/handlers.hpp"
#include "platform/event.hpp"

namespace sandbox::koyeb {
namespace {

constexpr std::size_t kPiece = 96 * 1024;  // of output per write of the answer; a multiple of 3 for base64

// Collects both streams. When there is no room for more the rest is read and dropped, and the answer says so.
class RunSink final : public OutputSink {
  public:
    explicit RunSink(Context& context)
        : stdout_(context.file_pool, context.spill_dir, context.run_memory),
          stderr_(context.file_pool, context.spill_dir, context.run_memory) {}

    Task<> on_output(StreamId stream, std::string_view bytes) override {
        if (failure_) co_return;
        Spool& spool = stream == StreamId::stderr_ ? stderr_ : stdout_;
        Result<> stored = co_await spool.append(bytes);
        if (!stored && !failure_) failure_ = stored.error();
    }
    Task<> on_end(StreamId) override { co_return; }

    Spool& out() { return stdout_; }
    Spool& err() { return stderr_; }
    const std::optional<Error>& failure() const { return failure_; }

  private:
    Spool stdout_;
    Spool stderr_;
    std::optional<Error> failure_;
};

// One stream's text, escaped piece by piece.
class StreamText {
  public:
    explicit StreamText(bool base64) : base64_(base64) {}
    void append(std::string& out, std::string_view bytes) {
        base64_ ? encoder_.append(out, bytes) : escaper_.append(out, bytes);
    }
    void finish(std::string& out) { base64_ ? encoder_.finish(out) : escaper_.finish(out); }

  private:
    bool base64_;
    Base64Encoder encoder_;
    JsonEscaper escaper_{JsonCharset::utf8};
};

std::string tail_of(const CommandEnd& end, const RunSink& sink, const CommandRequest& request) {
    std::string members;
    JsonWriter writer(members);
    writer.begin_object();
    int code = told_code(end);
    if (sink.failure()) {
        writer.member("error", "output truncated: " + sink.failure()->message);
    } else if (code != 0) {
        writer.member("error", end.timed_out ? "Command timed out" : "Non-zero exit code");
    }
    writer.member("code", code);
    write_end_members(writer, end, request.stats);
    if (sink.failure()) writer.member("truncated", true);
    writer.end_object();
    members[0] = ',';  // They follow stdout and stderr in the same object.
    members += '\n';
    return members;
}

// Appends the stream to `out`, handing over what has gathered whenever it is a piece's worth.
Task<bool> append_stream(net::Exchange& exchange, Loop& loop, Spool& spool, bool base64, std::string& out,
                         bool streaming) {
    StreamText text(base64);
    std::string piece;
    for (std::uint64_t offset = 0; offset < spool.size();) {
        piece.resize(kPiece);
        Result<std::size_t> count = co_await spool.read(offset, piece);
        if (!count || *count == 0) {
            exchange.abort();  // The head is out: the reader must see that the answer is cut.
            co_return false;
        }
        text.append(out, std::string_view(piece).substr(0, *count));
        offset += *count;
        if (streaming) {
            if (!co_await exchange.write(out)) co_return false;
            out.clear();
            co_await boost::asio::post(loop, use_task);
        }
    }
    text.finish(out);
    co_return true;
}

Task<> answer(net::Exchange& exchange, Context& context, const CommandRequest& request, RunSink& sink,
              CommandEnd end) {
    bool large =
        !sink.out().in_memory() || !sink.err().in_memory() || sink.out().size() + sink.err().size() > kPiece;
    bool streaming = large || exchange.answered();
    std::string out = "{\"stdout\":\"";
    if (streaming && !exchange.answered() && !co_await exchange.begin(200, "application/json")) co_return;
    if (!co_await append_stream(exchange, context.loop, sink.out(), request.base64, out, streaming))
        co_return;
    out += "\",\"stderr\":\"";
    if (!co_await append_stream(exchange, context.loop, sink.err(), request.base64, out, streaming))
        co_return;
    out += '"';
    out += tail_of(end, sink, request);
    if (!streaming) {
        co_await exchange.respond(200, "application/json", std::move(out));
        co_return;
    }
    if (co_await exchange.write(out)) co_await exchange.finish();
}

struct EndNote {
    explicit EndNote(Loop& loop) : changed(loop) {}
    Event changed;
    std::optional<CommandEnd> end;
};

Task<> note_end(std::shared_ptr<Command> command, std::shared_ptr<EndNote> note) {
    note->end = co_await command->wait(EndRule::exit_and_drain);
    note->changed.notify();
}

// Waits for the end. Meanwhile a blank goes out every `period`: white space before the JSON, for proxies that
// cut what is silent for long.
Task<CommandEnd> wait_audibly(net::Exchange& exchange, Loop& loop, std::shared_ptr<Command> command,
                              Milliseconds period) {
    auto note = std::make_shared<EndNote>(loop);
    spawn_task(loop, "end of a run", note_end(std::move(command), note));
    while (!note->end) {
        if (co_await note->changed.wait_for(period) || exchange.peer_gone()) continue;
        if (!exchange.answered()) co_await exchange.begin(200, "application/json");
        co_await exchange.write(" ");
    }
    co_return *note->end;
}

}  // namespace

Task<> handle_run(net::Exchange& exchange, Context& context) {
    std::unique_ptr<CommandRequest> request = co_await read_command_request(exchange, context, false);
    if (!request) co_return;
    auto sink = std::make_shared<RunSink>(context);
    CommandSpec spec = request->spec;
    auto started = co_await Command::start(context.commands, std::move(spec), sink, StartRule::at_the_end);
    if (!started) {
        co_await respond_start_error(exchange, started.error());
        co_return;
    }
    const std::shared_ptr<Command>& command = *started;
    if (request->stdin_bytes)
        spawn_task(context.loop, "stdin", feed_stdin(command, std::move(request->stdin_bytes)));
    if (!request->keep_on_disconnect) {
        exchange.watch_disconnect(
            [command, &context] { command->start_terminating(context.commands.kill_grace); });
    }
    CommandEnd end;
    if (request->keepalive.count() > 0) {
        end = co_await wait_audibly(exchange, context.loop, command, request->keepalive);
    } else {
        end = co_await command->wait(EndRule::exit_and_drain);
    }
    co_await command->detach_sink();
    if (end.not_started) {
        CommandError error{CommandError::Kind::not_started, *end.not_started};
        co_await respond_start_error(exchange, error);
        co_return;
    }
    if (end.survives) {
        std::string message = "process " + std::to_string(command->pid()) + " survives SIGKILL";
        if (exchange.answered()) {
            exchange.abort();  // It is too late for another status.
        } else {
            co_await net::respond_error(exchange, 500, std::move(message));
        }
        co_return;
    }
    co_await answer(exchange, context, *request, *sink, end);
}

}  // namespace sandbox::koyeb
