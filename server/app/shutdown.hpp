#pragma once
// From the wish to stop to the exit, within one budget.

#include <chrono>
#include <functional>
#include <optional>
#include <set>
#include <vector>

#include "net/http_server.hpp"
#include "platform/blocking_pool.hpp"
#include "platform/event.hpp"
#include "platform/process_tree.hpp"
#include "services/command.hpp"
#include "services/process_table.hpp"

namespace sandbox {

class Entrypoint;

// Phases, as parts of the budget (5 s by default): running requests get until 60 %, then every tree gets
// SIGTERM, at 90 % SIGKILL, and at 100 % we go whatever is left. A phase with nothing to wait for is skipped.
class Shutdown {
  public:
    struct Parts {
        Loop& loop;
        std::vector<net::HttpServer*> http;
        ProcessTable& processes;
        CommandEnvironment& commands;
        Entrypoint& entrypoint;
        std::chrono::milliseconds budget;
        std::function<void()> begun;     // runs once: end what only waits for events
        std::function<void()> finished;  // runs once, on the loop
    };
    explicit Shutdown(Parts parts);

    // The first call starts it; a second one, by an impatient signal, goes straight to SIGKILL.
    void request();
    bool requested() const { return requested_; }
    // Something has ended: look whether that was the last.
    void poke() { wake_.notify(); }

  private:
    Task<> run();
    std::size_t running_requests() const;
    Task<> wait_until(std::chrono::steady_clock::time_point deadline, bool for_requests);
    // How many live; nothing when some could not be looked at.
    Task<std::optional<std::size_t>> signal_descendants(int signal);

    Parts parts_;
    Event wake_;
    bool requested_ = false;
    bool hurry_ = false;
    std::set<ProcessKey> termed_;  // have had their SIGTERM
};

}  // namespace sandbox
