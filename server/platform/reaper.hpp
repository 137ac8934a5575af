#pragma once
// The only wait in the program. Reaps our children and every orphan that the kernel hands us as PID 1 or
// subreaper, and never takes a status from whom it belongs to.

#include <sys/resource.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <unordered_map>

#include "base/exit_status.hpp"
#include "platform/event.hpp"

namespace sandbox {

struct ExitRecord {
    ExitStatus status{0};
    rusage usage{};  // of the child and of its descendants that it waited for
};

// Loop thread. A spawn on another thread is bracketed: begin_spawn() before it, then exactly one of watch()
// and end_failed_spawn() after it. A child that ends in between is found by watch().
class Reaper {
  public:
    using OnExit = std::function<void(const ExitRecord&)>;

    explicit Reaper(Loop& loop) : due_(loop) {}

    // Throws std::bad_alloc; what comes after it does not.
    void begin_spawn();
    void end_failed_spawn();
    // `on_exit` runs once, from what reaps the child, or from watch() itself when it was reaped before. After
    // it has run, the pid means nothing any more and must not be signalled.
    void watch(pid_t pid, OnExit on_exit);

    // On SIGCHLD: reaps the child that it names (whatever else the number is, does no harm), and all others
    // that have ended, since one signal may stand for many. With many children to look at, the others' turn
    // comes 5 to 50 ms later, once for all signals until then.
    void child_ended(pid_t pid);
    // Reaps this child if it has ended: for who is about to do something because it has not.
    void look_at(pid_t pid);
    // Reaps all that has ended, now. The kernel looks at every child we have.
    void sweep();

    std::uint64_t orphans_reaped() const { return orphans_; }
    std::size_t watched() const { return watched_.size(); }

  private:
    bool reap(pid_t which);
    void spawn_ended();

    std::unordered_map<pid_t, OnExit> watched_;
    // Ended while a spawn was under way, and of nobody we know: either an orphan, or the child of that spawn.
    std::unordered_map<pid_t, ExitRecord> unclaimed_;
    Timer due_;  // the sweep that child_ended() has put off
    bool sweep_is_due_ = false;
    std::chrono::nanoseconds last_walk_{0};  // over all children
    bool found_some_ = false;                // the last sweep
    unsigned spawning_ = 0;
    std::uint64_t orphans_ = 0;
};

}  // namespace sandbox
