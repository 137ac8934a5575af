#pragma once
// Bytes on their way from a writer that must not wait to a reader that may be slow: while the reader keeps up
// they pass through memory, and what it is behind goes to a file like that of a Spool.

#include <cstdint>
#include <deque>
#include <span>
#include <string_view>

#include "platform/spool.hpp"

namespace sandbox {

// Loop thread. One coroutine appends and one takes, also both at once.
class SpoolQueue {
  public:
    // Keeps up to `memory_limit` bytes in memory, besides the write buffers of one Spool.
    SpoolQueue(BlockingPool& pool, SpillDir& dir, std::size_t memory_limit);

    // As Spool::append().
    Task<Result<>> append(std::string_view bytes);
    // Takes the oldest bytes: until `out` is full or nothing is left, and returns how many; 0 when it was
    // empty. Off the loop unless they are in memory.
    Task<Result<std::size_t>> take(std::span<char> out);

    std::uint64_t size() const { return appended_ - taken_; }

  private:
    BlockingPool& pool_;
    SpillDir& dir_;
    const std::size_t part_bytes_;
    const std::size_t memory_limit_;
    // The newest is appended to. A part that has been taken whole goes, and its file with it.
    std::deque<Spool> parts_;
    std::uint64_t offset_ = 0;  // in the oldest
    std::uint64_t appended_ = 0;
    std::uint64_t taken_ = 0;
};

}  // namespace sandbox
