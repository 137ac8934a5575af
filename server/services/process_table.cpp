#include "services/process_table.hpp"

#include "base/uuid.hpp"

namespace sandbox {

ProcessTable::ProcessTable(CommandEnvironment& environment, LogBudget& logs, std::size_t keep_ended)
    : environment_(environment), logs_(logs), keep_ended_(keep_ended) {}

Task<ProcessTable::Started> ProcessTable::start(CommandSpec spec, Dialect dialect, std::string tag) {
    auto log = std::make_shared<LogStore>(logs_);
    auto sink = std::make_shared<LogSink>(log);
    CommandSpec started_spec = spec;
    auto started = co_await Command::start(environment_, std::move(started_spec), sink);
    if (!started) co_return started.error();
    auto process = std::make_shared<ManagedProcess>(uuid_v4(), dialect, std::move(spec), std::move(tag),
                                                    *started, std::move(log), environment_.loop);
    auto position = processes_.insert(processes_.end(), process);
    by_id_.emplace(process->id(), position);
    spawn_task(environment_.loop, "process watcher", watch(process, std::move(sink)));
    co_return process;
}

Task<> ProcessTable::watch(std::shared_ptr<ManagedProcess> process, std::shared_ptr<LogSink> sink) {
    Command& command = process->command();
    CommandEnd end = co_await command.wait_exit();
    process->ended_at_ = std::chrono::system_clock::now();
    process->end_ = end;
    process->changed_.notify();
    process->end_ = co_await command.wait(EndRule::exit_and_drain);
    sink->flush();
    process->log_complete_ = true;
    ++ended_;
    process->log_->mark_ended();
    process->changed_.notify();
    process->log_->changed().notify();
    forget_oldest_ended();
    // Whoever still holds a pipe goes on being read, into the log.
    co_await command.wait(EndRule::exit_and_eof);
    process->log_->close();
}

void ProcessTable::forget_oldest_ended() {
    for (auto at = processes_.begin(); ended_ > keep_ended_ && at != processes_.end();) {
        if (!(*at)->log_complete()) {
            ++at;
            continue;
        }
        by_id_.erase((*at)->id());
        at = processes_.erase(at);
        --ended_;
    }
}

std::shared_ptr<ManagedProcess> ProcessTable::find(std::string_view id) const {
    auto found = by_id_.find(std::string(id));
    return found == by_id_.end() ? nullptr : *found->second;
}

std::vector<std::shared_ptr<ManagedProcess>> ProcessTable::list() const {
    return {processes_.begin(), processes_.end()};
}

void ProcessTable::start_terminating_all(Milliseconds grace) {
    for (const auto& process : processes_) {
        if (process->state() == ProcessState::running) process->command().start_terminating(grace);
    }
}

ProcessTable::Counts ProcessTable::counts() const {
    Counts counts;
    for (const auto& process : processes_) {
        switch (process->state()) {
            case ProcessState::running:
                ++counts.running;
                break;
            case ProcessState::completed:
                ++counts.completed;
                break;
            case ProcessState::failed:
                ++counts.failed;
                break;
            case ProcessState::killed:
                ++counts.killed;
                break;
        }
    }
    return counts;
}

}  // namespace sandbox
