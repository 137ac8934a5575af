#pragma once
// Every started process, of either dialect.

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "services/managed_process.hpp"

namespace sandbox {

// Loop thread. Must outlive every process that it watches, or be destroyed with the loop.
class ProcessTable {
  public:
    static constexpr std::size_t kKeepEnded = 1000;

    // Keeps the last `keep_ended` ended processes for later questions. `spill` takes what slow subscribers
    // have not read yet (see OutputHub), written by threads of `files`. Both must outlive it.
    ProcessTable(CommandEnvironment& environment, LogBudget& logs, BlockingPool& files, SpillDir& spill,
                 std::size_t keep_ended = kKeepEnded);

    using Started = boost::system::result<std::shared_ptr<ManagedProcess>, CommandError>;
    // For a process about to be started, so that a subscriber can be there before its first byte.
    std::shared_ptr<OutputHub> make_hub() const;
    // Starts a process with a line log. Its live output goes through `hub` (null: one is made). `told` is
    // what the process tells as its spec, where that is not what is run.
    Task<Started> start(CommandSpec spec, Dialect dialect, std::string tag,
                        std::shared_ptr<OutputHub> hub = nullptr,
                        std::optional<CommandSpec> told = std::nullopt);

    std::shared_ptr<ManagedProcess> find(std::string_view id) const;
    // The last process started with that number, or tag, whether it runs or not; null when it is forgotten.
    std::shared_ptr<ManagedProcess> find_pid(pid_t pid) const;
    std::shared_ptr<ManagedProcess> find_tag(std::string_view tag) const;
    // In the order of their start.
    std::vector<std::shared_ptr<ManagedProcess>> list() const;

    // Begins to end everything that still runs, with `grace` between SIGTERM and SIGKILL.
    void start_terminating_all(Milliseconds grace);

    struct Counts {
        std::size_t running = 0;
        std::size_t completed = 0;
        std::size_t failed = 0;
        std::size_t killed = 0;
    };
    Counts counts() const;

  private:
    void enter(const std::shared_ptr<ManagedProcess>& process);
    Task<> watch(std::shared_ptr<ManagedProcess> process, std::shared_ptr<ProcessSink> sink);
    void forget_oldest_ended();

    CommandEnvironment& environment_;
    LogBudget& logs_;
    const std::size_t keep_ended_;
    BlockingPool& files_;
    SpillDir& spill_;
    std::list<std::shared_ptr<ManagedProcess>> processes_;  // by their starts
    std::list<std::shared_ptr<ManagedProcess>> ended_;      // by their ends
    std::unordered_map<std::string, std::list<std::shared_ptr<ManagedProcess>>::iterator> by_id_;
    std::unordered_map<pid_t, std::shared_ptr<ManagedProcess>> by_pid_;
};

}  // namespace sandbox
