#pragma once
// Our share of the CPU beside commands that take all there is.

#include <optional>

namespace sandbox {

// Before any thread is made: takes ten off our nice value (setpriority(2)), where we may. With `own_session`
// and as its leader also off that of the session's autogroup (sched(7)), which is what counts between
// sessions; others of the session would gain by it, too. Returns the original nice value, which commands get
// back (SpawnSpec::nice); nothing when it stays as it was.
std::optional<int> raise_own_priority(bool own_session);

}  // namespace sandbox
