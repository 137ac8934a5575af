#pragma once
// Kernel pipes as stations for splice(2), borrowed only while bytes are under way.

#include <cstddef>
#include <optional>
#include <vector>

#include "base/unique_fd.hpp"

namespace sandbox::proxy {

constexpr std::size_t kIdlePipes = 8;  // that a forwarder keeps

struct Pipe {
    UniqueFd out;            // read end
    UniqueFd in;             // write end
    std::size_t slots = 16;  // buffers that the pipe has room for; each holds at least one byte
};

// Not thread-safe.
class PipePool {
  public:
    // `bytes` is the size asked for; an unprivileged user past /proc/sys/fs/pipe-user-pages-soft gets smaller
    // ones. Up to `max_idle` pipes are kept open.
    PipePool(std::size_t bytes, std::size_t max_idle) : bytes_(bytes), max_idle_(max_idle) {
        idle_.reserve(max_idle_);
    }

    // An empty, non-blocking pipe; nothing when there are no descriptors left.
    std::optional<Pipe> borrow();
    // Only an empty pipe may come back; one with bytes in it is to be destroyed.
    void give_back(Pipe pipe);

    // Closes those that nobody uses.
    void shrink() { idle_.clear(); }

  private:
    std::size_t bytes_;
    std::size_t max_idle_;
    std::vector<Pipe> idle_;
};

}  // namespace sandbox::proxy
