#pragma once
// The composition root: everything the daemon consists of, in order of dependency, and its life from start to
// exit.

#include "app/config.hpp"

namespace sandbox {

// Serves until a signal or the end of the entrypoint command. Returns the process's exit code. `nofile_soft`
// is the descriptor limit that commands get.
int run_daemon(Config config, std::uint64_t nofile_soft);

}  // namespace sandbox
