#pragma once
// Finding and signalling everything that a command started.
//
// Members of a tree are: the leader; its cgroup, where it has one; its session; whoever carries the command's
// marker in its environment; and all their descendants by parent link. What escapes: a process that gave up
// the marker (an emptied environment) and the session, and whose parent has ended. docs/security.md tells the
// reader.

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "platform/cgroup.hpp"

namespace sandbox {

// The variable that marks a command's processes.
inline constexpr const char* kMarkerVariable = "SANDBOX_COMMAND_ID";

// A process by number and start time: a recycled number is another process.
using ProcessKey = std::pair<pid_t, std::uint64_t>;

struct TreeId {
    pid_t leader = 0;  // also its session and process group
    bool leader_reaped =
        false;           // then the number counts only as a session, and only while nobody else has it
    std::string marker;  // value of kMarkerVariable
    // The leader's process group has had its SIGTERM: its members get no second one, and neither do the
    // programs that they start to clean up.
    bool group_termed = false;
    // Members seen by earlier calls: they stay members when the one who links them to the tree ends,
    // and so does the session that one of them leads, with whomever it started since.
    std::set<ProcessKey> known = {};
};

// Adds the living members to tree.known. Sends `signal` (0: none, to count) to every living member that is
// not in `already`, adds those signalled to it, and returns how many living (not zombie) members there are;
// nothing when it could not look everywhere (no descriptors, no memory), so that more may live than those it
// found and signalled. SIGCONT follows SIGTERM, so that a stopped process gets to act on it. Blocks (it reads
// /proc): pool threads only. `cgroup` (may be null) adds its processes to the members.
std::optional<std::size_t> signal_tree(TreeId& tree, const Cgroup* cgroup, int signal,
                                       std::set<ProcessKey>& already);

// The same for every living descendant of this process but `spared` and its children (0: nobody is spared).
// As PID 1 or subreaper that is everything ever started. `already` as above (null: everybody is signalled).
std::optional<std::size_t> signal_descendants(int signal, pid_t spared,
                                              std::set<ProcessKey>* already = nullptr);

}  // namespace sandbox
