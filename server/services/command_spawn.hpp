#pragma once
// Starting a command: everything between a CommandSpec and a running child.

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

// `marker` is the value of kMarkerVariable. Blocks. Reads only constants of `environment`. Once `*given_up`
// is not 0 (an atomic of any thread) the command is not started any more: Kind::given_up.
SpawnOutcome spawn_command(const CommandEnvironment& environment, const CommandSpec& spec,
                           const std::string& marker, const int* given_up);

// Whether it can be started without a look at the file system or the users: a plain command for a shell that
// has been found before.
bool can_launch(const CommandEnvironment& environment, const CommandSpec& spec);
// The same as spawn_command() for such a one, on the loop thread. It does not block, and the child may yet
// fail to execute the shell: CommandEnvironment::launcher tells.
SpawnOutcome launch_command(CommandEnvironment& environment, const CommandSpec& spec,
                            const std::string& marker);

}  // namespace sandbox
