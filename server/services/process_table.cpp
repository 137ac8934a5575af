#include "services/process_table.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "base/uuid.hpp"

namespace sandbox {

ProcessTable::ProcessTable(CommandEnvironment& environment, LogBudget& logs, BlockingPool& files,
                           SpillDir& spill, std::size_t keep_ended)
    : environment_(environment), logs_(logs), keep_ended_(keep_ended), files_(files), spill_(spill) {}

std::shared_ptr<OutputHub> ProcessTable::make_hub() const {
    return std::make_shared<OutputHub>(environment_.loop, files_, &spill_);
}

Task<ProcessTable::Started> ProcessTable::start(CommandSpec spec, Dialect dialect, std::string tag,
                                                std::shared_ptr<OutputHub> hub,
                                                std::optional<CommandSpec> told) {
    auto log = std::make_shared<LogStore>(logs_);
    if (!hub) hub = make_hub();
    auto sink = std::make_shared<ProcessSink>(log, hub);
    CommandSpec started_spec = spec;
    auto started = co_await Command::start(environment_, std::move(started_spec), sink);
    if (!started) co_return started.error();
    if (told) spec = std::move(*told);
    try {
        auto process =
            std::make_shared<ManagedProcess>(uuid_v4(), dialect, std::move(spec), std::move(tag), *started,
                                             std::move(log), std::move(hub), environment_.loop);
        Task<> watcher = watch(process, std::move(sink));
        enter(process);
        spawn_task(environment_.loop, "process watcher", std::move(watcher));
        co_return process;
    } catch (...) {
        // Out of memory. It must not go on running, unknown to all.
        (*started)->start_terminating(Milliseconds(0));
        throw;
    }
}

void ProcessTable::enter(const std::shared_ptr<ManagedProcess>& process) {
    auto position = processes_.insert(processes_.end(), process);
    try {
        by_id_.emplace(process->id(), position);
        by_pid_[process->pid()] = process;
    } catch (...) {
        by_id_.erase(process->id());
        processes_.erase(position);
        throw;
    }
}

Task<> ProcessTable::watch(std::shared_ptr<ManagedProcess> process, std::shared_ptr<ProcessSink> sink) {
    Command& command = process->command();
    CommandEnd end = co_await command.wait_exit();
    process->ended_at_ = std::chrono::system_clock::now();
    process->end_ = end;
    process->end_stdin_if_over();
    process->changed_.notify();
    process->end_ = co_await command.wait(EndRule::exit_and_drain);
    try {
        sink->flush();
    } catch (const std::bad_alloc& error) {  // The end is told all the same.
        log::error("output of a process lost", {{"pid", process->pid()}, {"error", error.what()}});
        process->end_->output_lost = true;
    }
    process->log_complete_ = true;
    ended_.push_back(process);
    process->log_->mark_ended();
    process->changed_.notify();
    process->log_->changed().notify();
    forget_oldest_ended();
    if (process->end_early_) process->end_early();
    // Whoever still holds a pipe goes on being read, into the log.
    const CommandEnd last = co_await command.wait(EndRule::exit_and_eof);
    if (last.output_lost) process->end_->output_lost = true;
    process->hub_->end();
    process->end_stdin_if_over();
    process->changed_.notify();
    process->shrink();
    process->log_->close();
}

void ProcessTable::forget_oldest_ended() {
    while (ended_.size() > keep_ended_) {
        const std::shared_ptr<ManagedProcess> process = std::move(ended_.front());
        ended_.pop_front();
        auto numbered = by_pid_.find(process->pid());
        if (numbered != by_pid_.end() && numbered->second == process) by_pid_.erase(numbered);
        auto found = by_id_.find(process->id());
        processes_.erase(found->second);
        by_id_.erase(found);
    }
}

std::shared_ptr<ManagedProcess> ProcessTable::find(std::string_view id) const {
    auto found = by_id_.find(std::string(id));
    return found == by_id_.end() ? nullptr : *found->second;
}

std::shared_ptr<ManagedProcess> ProcessTable::find_pid(pid_t pid) const {
    auto found = by_pid_.find(pid);
    return found == by_pid_.end() ? nullptr : found->second;
}

std::shared_ptr<ManagedProcess> ProcessTable::find_tag(std::string_view tag) const {
    if (tag.empty()) return nullptr;  // Those without a tag.
    std::shared_ptr<ManagedProcess> newest;
    for (auto at = processes_.rbegin(); at != processes_.rend(); ++at) {
        if ((*at)->tag() != tag) continue;
        if ((*at)->lasts()) return *at;
        if (!newest) newest = *at;
    }
    return newest;
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
