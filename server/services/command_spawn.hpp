#pragma once
// The blocking half of starting a command: everything between a CommandSpec and a running child. Pool
// threads.

#include <sys/types.h>

#include "base/unique_fd.hpp"
#include "services/command.hpp"

namespace sandbox {

// Our ends of a new command's streams; those it does not have are empty.
struct SpawnedCommand {
    pid_t pid = 0;
    UniqueFd stdin_write;
    UniqueFd stdout_read;
    UniqueFd stderr_read;
    UniqueFd terminal;
    std::unique_ptr<Cgroup> cgroup;  // null where there are none
};

using SpawnOutcome = boost::system::result<SpawnedCommand, CommandError>;

// `marker` is the value of kMarkerVariable. Reads only constants of `environment`.
SpawnOutcome spawn_command(const CommandEnvironment& environment, const CommandSpec& spec,
                           const std::string& marker);

}  // namespace sandbox
