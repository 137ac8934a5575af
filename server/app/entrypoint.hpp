#pragma once
// The image's own command, run beside the API (`sandbox-executor -- CMD ARG…`).

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "platform/blocking_pool.hpp"
#include "platform/reaper.hpp"
#include "platform/spawn.hpp"

namespace sandbox {

// Loop thread. The command inherits standard streams, session and process group.
class Entrypoint {
  public:
    // `on_end` runs once with its exit code (128+n for a signal).
    Entrypoint(BlockingPool& pool, Reaper& reaper, Originals originals, std::function<void(int)> on_end);

    // A command that cannot be started is logged, and the API stays up.
    Task<> start(std::vector<std::string> argv, std::vector<std::pair<std::string, std::string>> env);

    // To the command alone, as tini does; nothing when it does not run.
    void forward(int signal);
    bool running() const { return pid_ > 0 || starting_; }
    bool starting() const { return starting_; }          // its number is not known yet
    pid_t pid() const { return pid_; }                   // 0 when it does not run
    bool over() const { return exit_code_ || failed_; }  // it has ended, or could not be started

  private:
    BlockingPool& pool_;
    Reaper& reaper_;
    const Originals originals_;
    std::function<void(int)> on_end_;
    pid_t pid_ = 0;
    std::vector<int> early_signals_;  // arrived while it was being started
    bool starting_ = false;
    bool failed_ = false;  // to start
    std::optional<int> exit_code_;
};

}  // namespace sandbox
