#include "services/managed_process.hpp"

namespace sandbox {

constexpr std::size_t kKeptCommandText = 16 * 1024;  // bytes of the command that an ended process still tells

const char* state_name(ProcessState state) {
    switch (state) {
        case ProcessState::running:
            return "running";
        case ProcessState::completed:
            return "completed";
        case ProcessState::failed:
            return "failed";
        default:
            return "killed";
    }
}

LogSink::LogSink(std::shared_ptr<LogStore> log)
    : log_(std::move(log)),
      splitters_{LineSplitter(CrRule::one), LineSplitter(CrRule::one), LineSplitter(CrRule::one)} {}

LineSplitter& LogSink::splitter(StreamId stream) { return splitters_[static_cast<std::size_t>(stream)]; }

void LogSink::store(StreamId stream, const LinePiece& piece) {
    auto now = std::chrono::system_clock::now().time_since_epoch();
    log_->append(stream, std::chrono::duration_cast<std::chrono::nanoseconds>(now).count(), piece.text,
                 piece.eol, piece.partial);
}

Task<> LogSink::on_output(StreamId stream, std::string_view bytes) {
    splitter(stream).feed(bytes, [&](const LinePiece& piece) { store(stream, piece); });
    co_await log_->flow();
}

Task<> LogSink::on_end(StreamId stream) {
    splitter(stream).finish([&](const LinePiece& piece) { store(stream, piece); });
    co_return;
}

void LogSink::flush() {
    for (StreamId stream : {StreamId::stdout_, StreamId::stderr_, StreamId::pty}) {
        splitter(stream).flush([&](const LinePiece& piece) { store(stream, piece); });
    }
}

Task<> ProcessSink::on_output(StreamId stream, std::string_view bytes) {
    co_await log_.on_output(stream, bytes);
    co_await hub_->publish(stream, bytes);
}

ManagedProcess::ManagedProcess(std::string id, Dialect dialect, CommandSpec spec, std::string tag,
                               std::shared_ptr<Command> command, std::shared_ptr<LogStore> log,
                               std::shared_ptr<OutputHub> hub, Loop& loop)
    : id_(std::move(id)),
      dialect_(dialect),
      spec_(std::move(spec)),
      tag_(std::move(tag)),
      command_(std::move(command)),
      log_(std::move(log)),
      hub_(std::move(hub)),
      changed_(loop) {}

void ManagedProcess::end_early() {
    end_early_ = true;
    end_stdin_if_over();
    if (!log_complete_) return;
    hub_->end();
    changed_.notify();
}

void ManagedProcess::end_stdin_if_over() {
    if (dialect_ == Dialect::envd && !lasts() && !command_->has_pty()) (void)command_->close_stdin();
}

bool ManagedProcess::lasts() const { return !hub_->ended_at() && !(end_early_ && command_->has_exited()); }

std::string ManagedProcess::command_text() const {
    if (spec_.args.empty()) return spec_.shell_command;
    std::string text;
    for (const std::string& word : spec_.args) {
        if (!text.empty()) text += ' ';
        text += word;
    }
    return text;
}

void ManagedProcess::shrink() {
    decltype(spec_.env)().swap(spec_.env);
    try {
        std::string text = command_text();
        if (text.size() <= kKeptCommandText) return;
        text.resize(kKeptCommandText);
        text += "...";
        text.shrink_to_fit();
        spec_.args.clear();
        spec_.shell_command = std::move(text);
    } catch (const std::bad_alloc&) {  // It stays as long as it is.
    }
}

ProcessState ManagedProcess::state() const {
    if (!end_) return ProcessState::running;
    if (end_->killed_by_us) return ProcessState::killed;
    return end_->exit.status.code() == 0 ? ProcessState::completed : ProcessState::failed;
}

}  // namespace sandbox
