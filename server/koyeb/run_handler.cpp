// POST /run: a command, its whole output, and its end, in one answer.

#include <boost/asio/post.hpp>
#include <exception>
#include <functional>
#include <utility>

#include "koyeb/command_request.hpp"
#include "koyeb/handlers.hpp"
#include "koyeb/run_output.hpp"
#include "platform/event.hpp"

namespace sandbox::koyeb {
namespace {

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
        alive_ = false;
        try {
            spawn_task(loop_, "early answer", send_early(), [this] {
                if (!alive_) sink_.drop();
                early_done_ = true;
                finished_.notify();
            });
        } catch (...) {
            early_done_ = true;  // Nobody is to wait for it.
            throw;
        }
    }
    // After the command's end. False: the peer is gone, or the answer was cut.
    Task<bool> stdout_sent() {
        while (early_ && !early_done_) co_await finished_.wait();
        co_return alive_;
    }

    Task<> finish(CommandEnd end) {
        RunOutput& out = sink_.out();
        RunOutput& err = sink_.err();
        const bool in_one_piece =
            !early_ && !exchange_.answered() && !out.piece_ready() && !err.piece_ready();
        if (in_one_piece) {
            out.finish();
            err.finish();
            rest_ = std::move(out.text());
            rest_ += err.text();
        } else {
            bool alive = true;
            if (!exchange_.answered()) alive = co_await exchange_.begin(200, "application/json");
            if (alive && !early_) alive = co_await send(out);
            if (alive) alive = co_await send(err);
            if (!alive) co_return;
        }
        rest_ += '"';
        rest_ += tail_of(end, sink_, request_);
        if (in_one_piece) {
            co_await exchange_.respond(200, "application/json", std::move(rest_));
            co_return;
        }
        bool alive = co_await exchange_.write(rest_);
        if (alive) co_await exchange_.finish();
    }

  private:
    Task<> send_early() {
        bool alive = co_await exchange_.begin(200, "application/json");
        if (alive) alive = co_await send(sink_.out());
        alive_ = alive;
    }

    // Sends a stream up to its end, a piece or more at a time, and leaves less than a piece in rest_. False:
    // the peer is gone, or the answer was cut.
    Task<bool> send(RunOutput& output) {
        output.text().insert(0, rest_);
        for (;;) {
            Result<std::size_t> pulled = std::size_t{0};
            const bool room = output.text().size() < RunOutput::kPiece;
            if (room && output.behind()) pulled = co_await output.pull();
            if (!pulled) {
                exchange_.abort();  // The head is out: the reader must see that the answer is cut.
                co_return false;
            }
            if (output.text().size() >= RunOutput::kPiece) {
                sending_.clear();
                sending_.swap(output.text());
                bool alive = co_await exchange_.write(sending_);
                if (!alive) co_return false;
                co_await boost::asio::post(loop_, use_task);
            } else if (*pulled == 0 && sink_.ended()) {
                output.finish();
                rest_ = std::move(output.text());
                co_return true;
            } else if (*pulled == 0) {
                co_await sink_.more();
            }
        }
    }

    net::Exchange& exchange_;
    Loop& loop_;
    const CommandRequest& request_;
    RunSink& sink_;
    Event finished_;
    std::string sending_;
    std::string rest_;  // what comes before all that is not sent yet
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

// Why the output and the exit code cannot be told; absent when they can.
std::optional<std::string> failure_of(const CommandEnd& end, pid_t pid) {
    if (end.not_started) return not_started_message(*end.not_started);
    if (end.survives) return survives_message(pid);
    if (end.output_lost) return "the output was lost for want of memory, and the command ended";
    return std::nullopt;
}

// From the command's start to the answer's end.
Task<> await_end(net::Exchange& exchange, Context& context, std::shared_ptr<Command> command,
                 CommandRequest& request, RunSink& sink, Answer& answer) {
    start_feeding(context, command, request);
    if (!request.keep_on_disconnect) {
        exchange.watch_disconnect(
            [command, &context] { command->start_terminating(context.commands.kill_grace); });
    }
    CommandEnd end;
    if (request.keepalive.count() > 0) {
        end = co_await wait_audibly(exchange, context.loop, command, request.keepalive);
    } else {
        end = co_await command->wait(EndRule::exit_and_drain);
    }
    co_await command->detach_sink();
    end.output_lost = command->output_lost();
    sink.end();
    if (!co_await answer.stdout_sent()) co_return;
    const std::optional<std::string> failure = failure_of(end, command->pid());
    if (!failure) {
        co_await answer.finish(std::move(end));
    } else if (exchange.answered()) {
        exchange.abort();  // It is too late for another status.
    } else {
        co_await net::respond_error(exchange, 500, *failure);
    }
}

}  // namespace

Task<> handle_run(net::Exchange& exchange, Context& context) {
    std::unique_ptr<CommandRequest> request =
        co_await read_command_request(exchange, context, InputForm::text);
    if (!request) co_return;
    auto sink = std::make_shared<RunSink>(context, request->base64);
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
    std::exception_ptr failure;
    try {
        co_await await_end(exchange, context, command, *request, *sink, answer);
    } catch (...) {
        failure = std::current_exception();
    }
    if (!failure) co_return;
    // Out of memory. The command may be writing to the sink, and an early answer may be on its way.
    if (exchange.answered()) exchange.abort();
    command->start_terminating(Milliseconds(0));
    co_await command->detach_sink();
    sink->end();
    (void)co_await answer.stdout_sent();
    std::rethrow_exception(failure);
}

}  // namespace sandbox::koyeb
