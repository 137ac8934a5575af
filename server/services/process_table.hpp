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

// Loop thread. Outlives the processes' watchers only together with the loop.
class ProcessTable {
  public:
    // Keeps the last `keep_ended` ended processes for later questions.
    ProcessTable(CommandEnvironment& environment, LogBudget& logs, std::size_t keep_ended = 1000);

    using Started = boost::system::result<std::shared_ptr<ManagedProcess>, CommandError>;
    // Starts a process with a line log.
    Task<Started> start(CommandSpec spec, Dialect dialect, std::string tag);

    std::shared_ptr<ManagedProcess> find(std::string_view id) const;
    // In the order of their start.
    std::vector<std::shared_ptr<ManagedProcess>> list() const;

    // Ends everything that still runs, `grace` between SIGTERM and SIGKILL; returns when all is gone or the
    // deadline of each has passed.
    void start_terminating_all(Milliseconds grace);

    struct Counts {
        std::size_t running = 0;
        std::size_t completed = 0;
        std::size_t failed = 0;
        std::size_t killed = 0;
    };
    Counts counts() const;

  private:
    Task<> watch(std::shared_ptr<ManagedProcess> process, std::shared_ptr<LogSink> sink);
    void forget_oldest_ended();

    CommandEnvironment& environment_;
    LogBudget& logs_;
    const std::size_t keep_ended_;
    std::size_t ended_ = 0;
    std::list<std::shared_ptr<ManagedProcess>> processes_;
    std::unordered_map<std::string, std::list<std::shared_ptr<ManagedProcess>>::iterator> by_id_;
};

}  // namespace sandbox
