// POST /run: a command, its whole output, and its end, in one answer.

#include <boost/asio/post.hpp>
#include <functional>
#include <utility>

#include "koyeb/command_request.hpp"
#include "koyeb/encoded_text.hpp"
#include "koyeb/handlers.hpp"
#include "platform/event.hpp"
#include "platform/spool_queue.hpp"

namespace sandbox::koyeb {
namespace {

constexpr std::size_t kPiece = 96 * 1024;  // of output per write of the answer; a multiple of 3 for base64

// Collects both streams. When there is no room for more the rest is read and dropped, and the answer says so.
class RunSink final : public OutputSink {
  public:
    explicit RunSink(Context& context)
        : stdout_(context.file_pool, context.spill_dir, context.run_memory),
          stderr_(context.file_pool, context.spill_dir, context.run_memory),
          changed_(context.loop),
          memory_(context.run_memory) {}

    // Called once, when there is more of stdout than its memory holds.
    void on_large(std::function<void()> callback) { on_large_ = std::move(callback); }
    // Nobody wants it any more: what comes is dropped.
    void drop() { dropping_ = true; }
    void end() {
        ended_ = true;
        changed_.notify();
    }

    Task<> on_output(StreamId stream, std::string_view bytes) override {
        if (failure_ || dropping_) co_return;
        SpoolQueue& queue = stream == StreamId::stderr_ ? stderr_ : stdout_;
        Result<> stored = co_await queue.append(bytes);
        if (!stored && !failure_) failure_ = stored.error();
        if (stdout_.size() >= kPiece) changed_.notify();
        if (on_large_ && stdout_.appended() > memory_) std::exchange(on_large_, nullptr)();
    }
    Task<> on_end(StreamId) override { co_return; }

    SpoolQueue& out() { return stdout_; }
    SpoolQueue& err() { return stderr_; }
    const std::optional<Error>& failure() const { return failure_; }
    bool ended() const { return ended_; }
    // Resumes when there is a piece's worth of stdout, or an end.
    Task<> more() { return changed_.wait(); }

  private:
    SpoolQueue stdout_;
    SpoolQueue stderr_;
    std::optional<Error> failure_;
    Event changed_;
    const std::uint64_t memory_;
    std::function<void()> on_large_;
    bool dropping_ = false;
    bool ended_ = false;
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

// The answer's text, which goes out in pieces when it is large. That of a command with much of stdout begins
// while the command runs: then nothing of it is kept but what the reader is behind.
class Answer {
  public:
    Answer(net::Exchange& exchange, Context& context, const CommandRequest& request, RunSink& sink)
        : exchange_(exchange), loop_(context.loop), request_(request), sink_(sink), finished_(context.loop) {}

    void begin_early() {
        early_ = true;
        streaming_ = true;
        alive_ = false;
        spawn_task(loop_, "early answer", send_early(), [this] {
            if (!alive_) sink_.drop();
            early_done_ = true;
            finished_.notify();
        });
    }
    // After the command's end. False: the peer is gone, or the answer was cut.
    Task<bool> stdout_sent() {
        while (early_ && !early_done_) co_await finished_.wait();
        co_return alive_;
    }

    Task<> finish(CommandEnd end) {
        if (!early_) {
            streaming_ = sink_.out().size() + sink_.err().size() > kPiece;
            streaming_ = streaming_ || exchange_.answered();
            bool alive = true;
            if (streaming_ && !exchange_.answered())
                alive = co_await exchange_.begin(200, "application/json");
            if (!alive) co_return;
            text_ = kBegin;
            if (!co_await append(sink_.out())) co_return;
        }
        text_ += "\",\"stderr\":\"";
        if (!co_await append(sink_.err())) co_return;
        text_ += '"';
        text_ += tail_of(end, sink_, request_);
        if (!streaming_) {
            co_await exchange_.respond(200, "application/json", std::move(text_));
            co_return;
        }
        if (co_await exchange_.write(text_)) co_await exchange_.finish();
    }

  private:
    static constexpr const char* kBegin = "{\"stdout\":\"";

    Task<> send_early() {
        bool alive = co_await exchange_.begin(200, "application/json");
        if (alive) {
            text_ = kBegin;
            alive = co_await append(sink_.out());
        }
        alive_ = alive;
    }

    // Appends a stream, up to its end, to the text, and hands over what has gathered whenever it is a piece's
    // worth.
    Task<bool> append(SpoolQueue& queue) {
        EncodedText stream(request_.base64);
        std::string piece;
        for (;;) {
            while (queue.size() < kPiece && !sink_.ended()) co_await sink_.more();
            const bool ended = sink_.ended();
            piece.resize(kPiece);
            Result<std::size_t> count = co_await queue.take(piece);
            if (!count) {
                exchange_.abort();  // The head is out: the reader must see that the answer is cut.
                co_return false;
            }
            if (*count == 0 && ended) break;
            stream.append(text_, std::string_view(piece).substr(0, *count));
            if (!streaming_) continue;
            if (!co_await exchange_.write(text_)) co_return false;
            text_.clear();
            co_await boost::asio::post(loop_, use_task);
        }
        stream.finish(text_);
        co_return true;
    }

    net::Exchange& exchange_;
    Loop& loop_;
    const CommandRequest& request_;
    RunSink& sink_;
    Event finished_;
    std::string text_;
    bool streaming_ = false;
    bool early_ = false;
    bool early_done_ = false;
    bool alive_ = true;
};

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
    std::unique_ptr<CommandRequest> request =
        co_await read_command_request(exchange, context, InputForm::text);
    if (!request) co_return;
    auto sink = std::make_shared<RunSink>(context);
    Answer answer(exchange, context, *request, *sink);
    // Blanks have the connection until the end.
    if (request->keepalive.count() == 0) sink->on_large([&answer] { answer.begin_early(); });
    CommandSpec spec = request->spec;
    PendingStart pending;
    if (!request->keep_on_disconnect) exchange.watch_disconnect([&pending] { pending.give_up(); });
    auto started =
        co_await Command::start(context.commands, std::move(spec), sink, StartRule::at_the_end, &pending);
    if (!started && started.error().kind == CommandError::Kind::timed_out) {
        sink->end();
        CommandEnd end = timed_out_at_start(request->spec);
        co_await answer.finish(std::move(end));
        co_return;
    }
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
    sink->end();
    if (!co_await answer.stdout_sent()) co_return;
    if ((end.not_started || end.survives) && exchange.answered()) {
        exchange.abort();  // It is too late for another status.
        co_return;
    }
    if (end.not_started) {
        CommandError error{CommandError::Kind::not_started, *end.not_started};
        co_await respond_start_error(exchange, error);
        co_return;
    }
    if (end.survives) {
        std::string message = "process " + std::to_string(command->pid()) + " survives SIGKILL";
        co_await net::respond_error(exchange, 500, message);
        co_return;
    }
    co_await answer.finish(std::move(end));
}

}  // namespace sandbox::koyeb
