#pragma once
// A command that was started to live by itself: it has an id, a state and a log, and outlives every
// connection.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/line_splitter.hpp"
#include "platform/event.hpp"
#include "services/command.hpp"
#include "services/log_store.hpp"
#include "services/output_hub.hpp"

namespace sandbox {

enum class ProcessState {
    running,
    completed,  // exit code 0
    failed,     // another exit code, or a signal from elsewhere
    killed,     // ended by us: kill, timeout, shutdown
};

const char* state_name(ProcessState state);

enum class Dialect : std::uint8_t { koyeb, envd };

// Lines of a process into its log. Held pieces without a newline are kept until the newline, the end of the
// stream, or flush().
class LogSink final : public OutputSink {
  public:
    explicit LogSink(std::shared_ptr<LogStore> log);
    Task<> on_output(StreamId stream, std::string_view bytes) override;
    Task<> on_end(StreamId stream) override;
    // Stores what is held of unfinished lines, as partial pieces.
    void flush();

  private:
    LineSplitter& splitter(StreamId stream);
    void store(StreamId stream, const LinePiece& piece);
    std::shared_ptr<LogStore> log_;
    LineSplitter splitters_[3];
};

// Output of a process to its log and to whoever listens.
class ProcessSink final : public OutputSink {
  public:
    ProcessSink(std::shared_ptr<LogStore> log, std::shared_ptr<OutputHub> hub)
        : log_(std::move(log)), hub_(std::move(hub)) {}
    Task<> on_output(StreamId stream, std::string_view bytes) override;
    Task<> on_end(StreamId stream) override { return log_.on_end(stream); }
    void flush() { log_.flush(); }

  private:
    LogSink log_;
    std::shared_ptr<OutputHub> hub_;
};

// Loop thread; shared by the table, handlers that are looking at it, and its own watcher.
class ManagedProcess {
  public:
    ManagedProcess(std::string id, Dialect dialect, CommandSpec spec, std::string tag,
                   std::shared_ptr<Command> command, std::shared_ptr<LogStore> log,
                   std::shared_ptr<OutputHub> hub, Loop& loop);

    const std::string& id() const { return id_; }
    const std::string& tag() const { return tag_; }
    Dialect dialect() const { return dialect_; }
    // What it was started with, until the end of its output; then without the environment, and in short.
    const CommandSpec& spec() const { return spec_; }
    // What was asked for, as one line: the shell command, or the words of args.
    std::string command_text() const;
    Command& command() const { return *command_; }
    const std::shared_ptr<Command>& shared_command() const { return command_; }
    LogStore& log() const { return *log_; }
    // Whether whoever started it wants its log told as bytes rather than as text.
    bool tells_bytes() const { return tells_bytes_; }
    void tell_bytes(bool on) { tells_bytes_ = on; }
    // Live output. Its end comes when the leader has ended and all pipes are at their end; after end_early()
    // what is in the pipes at the leader's end is all that is waited for.
    OutputHub& output() const { return *hub_; }
    void end_early();
    // It runs, or its output has not ended and nobody asked for an early end.
    bool lasts() const;
    pid_t pid() const { return command_->pid(); }

    ProcessState state() const;
    std::chrono::system_clock::time_point started_at() const { return command_->started_at(); }
    std::optional<std::chrono::system_clock::time_point> ended_at() const { return ended_at_; }
    // Present once the leader has ended.
    const std::optional<CommandEnd>& end() const { return end_; }
    // The leader has ended and what it wrote is in the log.
    bool log_complete() const { return log_complete_; }
    Event& changed() { return changed_; }

  private:
    friend class ProcessTable;
    // Lets go of what an ended process no longer needs: a thousand of them are kept.
    void shrink();
    // envd clients cannot close the stdin of an ended process, so it is closed for whoever of the tree still
    // reads it.
    void end_stdin_if_over();
    const std::string id_;
    const Dialect dialect_;
    CommandSpec spec_;
    const std::string tag_;
    const std::shared_ptr<Command> command_;
    const std::shared_ptr<LogStore> log_;
    const std::shared_ptr<OutputHub> hub_;
    bool end_early_ = false;
    bool tells_bytes_ = false;
    std::optional<CommandEnd> end_;
    std::optional<std::chrono::system_clock::time_point> ended_at_;
    bool log_complete_ = false;
    Event changed_;
};

}  // namespace sandbox
