#pragma once
// How many processes the kernel's OOM killer has ended here. It tells nobody why a process got its SIGKILL;
// that the number has grown while a command ran is all the evidence there is.

#include <chrono>
#include <cstdint>
#include <string>

#include "base/unique_fd.hpp"

namespace sandbox {

// Loop thread. Reads a file of the kernel that does not block.
class OomKills {
  public:
    static constexpr std::chrono::seconds kRecent{1};

    // Counts those of our own cgroup and of those below it (`oom_kill` in memory.events, or in version 1's
    // memory.oom_control), or, where that is not to be seen, those of the whole machine (/proc/vmstat).
    OomKills();
    // Counts by the line `oom_kill N` of this file.
    explicit OomKills(const std::string& path);

    // A figure of the last second, so that asking costs nothing. 0 for ever where there is none.
    std::uint64_t recent();
    std::uint64_t now();

  private:
    UniqueFd file_;
    std::uint64_t count_ = 0;
    std::chrono::steady_clock::time_point read_at_;
};

}  // namespace sandbox
