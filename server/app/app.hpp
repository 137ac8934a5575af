#pragma once
// The composition root: everything the daemon consists of, in order of dependency, and its life from start to
// exit.

#include "app/config.hpp"
#include "platform/spawn.hpp"

namespace sandbox {

// Serves until a signal or the end of the entrypoint command. Returns the process's exit code. `originals`
// is what commands get back of what main has changed.
int run_daemon(Config config, Originals originals);

}  // namespace sandbox
