#pragma once
// The only wait in the program. Reaps our children and every orphan that the kernel hands us as PID 1 or
// subreaper, and never takes a status from whom it belongs to.

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <unordered_map>

#include "base/exit_status.hpp"

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

    void begin_spawn() { ++spawning_; }
    void end_failed_spawn();
    // `on_exit` runs once, from a sweep or from within watch() itself when the child has ended already. After
    // it has run, the pid means nothing any more and must not be signalled.
    void watch(pid_t pid, OnExit on_exit);

    // Reaps all that has ended. Called on SIGCHLD, which coalesces: so it sweeps until nothing is left.
    void sweep();

    std::uint64_t orphans_reaped() const { return orphans_; }
    std::size_t watched() const { return watched_.size(); }

  private:
    void spawn_ended();

    std::unordered_map<pid_t, OnExit> watched_;
    // Ended while a spawn was under way, and of nobody we know: either an orphan, or the child of that spawn.
    std::unordered_map<pid_t, ExitRecord> unclaimed_;
    unsigned spawning_ = 0;
    std::uint64_t orphans_ = 0;
};

}  // namespace sandbox
