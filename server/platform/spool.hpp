#pragma once
// Bytes that may be larger than the memory we allow ourselves: the first part is kept in memory, the rest goes to
// an unlinked temporary file, so nothing is left behind however we die. Used for the output of /run, for bodies of
// uploads and for stdin.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "platform/blocking_pool.hpp"

namespace sandbox {

// Where spilled bytes go. One per daemon, opened at start so that `rm -rf /tmp` cannot take it away.
// Thread-safe.
class SpillDir {
  public:
    // Tries `preferred` (may be empty), $TMPDIR as given, /tmp, /var/tmp, /dev/shm, / for O_TMPFILE or create+unlink.
    // With none of them usable, files are memfds, and all of them together hold at most 32 MiB.
    SpillDir(const std::string& preferred, const std::string& tmpdir);
    ~SpillDir();
    SpillDir(const SpillDir&) = delete;
    SpillDir& operator=(const SpillDir&) = delete;

    bool on_disk() const;
    struct Impl;
    Impl& impl() { return *impl_; }

  private:
    std::unique_ptr<Impl> impl_;
};

// Append first, then read. One coroutine appends at a time; reads may go on beside it for what was appended before.
class Spool {
  public:
    // Keeps up to `memory_limit` bytes in memory. `pool` and `dir` must outlive it.
    Spool(BlockingPool& pool, SpillDir& dir, std::size_t memory_limit);
    ~Spool();
    Spool(Spool&&) noexcept;
    Spool& operator=(Spool&&) noexcept;

    // Resumes when the bytes are taken; writing to the file is off the loop. On an error (resource_exhausted when
    // there is no space) what was stored before stays readable and size() counts only that.
    Task<Result<>> append(std::string_view bytes);

    std::uint64_t size() const;
    bool in_memory() const;
    // The whole content when in_memory(), else the part before the spill.
    std::string_view memory() const;

    // Reads up to out.size() bytes at `offset`; 0 at the end. Off the loop unless the bytes are in memory.
    Task<Result<std::size_t>> read(std::uint64_t offset, std::span<char> out);
    // The same for a pool thread, while nobody appends.
    Result<std::size_t> read_blocking(std::uint64_t offset, std::span<char> out) const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sandbox
