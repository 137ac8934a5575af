#pragma once
// Bytes that may be larger than the memory we allow ourselves: the first part is kept in memory, the rest
// goes to an unlinked temporary file, so nothing is left behind however we die. Used for the output of /run,
// for bodies of uploads and for stdin.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "platform/blocking_pool.hpp"

namespace sandbox {

// An empty file that has no name (open(2) with O_TMPFILE, or memfd_create(2)).
struct SpillFile {
    UniqueFd fd;
    bool in_memory = false;  // a memfd: what is written must be reserved with SpillDir::reserve_memory first
};

// Where spilled bytes go. One per daemon, opened at start so that a command that moves or replaces /tmp
// cannot take it away. Thread-safe.
class SpillDir {
  public:
    // The first of these that can hold files: `preferred`, `tmpdir` (the value of $TMPDIR; either may be
    // empty), /tmp, /var/tmp and / where they are on a disk, the same and /dev/shm where they are in memory.
    // With none of them usable, files are memfds, and all of them together hold at most kMemoryBudget bytes.
    SpillDir(const std::string& preferred, const std::string& tmpdir);
    ~SpillDir();
    SpillDir(const SpillDir&) = delete;
    SpillDir& operator=(const SpillDir&) = delete;

    static constexpr std::size_t kMemoryBudget = 32U << 20U;

    // A directory was found. One in a tmpfs counts: its size limit is the mounter's choice.
    bool on_disk() const;
    // The path of that directory, or none: for BlockingPool::run_on with work on the files. Never waits.
    std::vector<std::string> paths() const;

    // Blocks, so call it from a pool thread. When the directory has been removed the other candidates are
    // tried again, and a memfd is the last resort. The error is the descriptor table's or the last
    // candidate's.
    Result<SpillFile> open_file();

    // Takes `bytes` out of what memfds may hold; false when there is not as much left. Give it back with
    // release_memory when the file is closed.
    bool reserve_memory(std::size_t bytes);
    void release_memory(std::size_t bytes);

  private:
    friend class Spool;
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

// Append first, then read; or both at once. Loop thread, but for read_blocking. One coroutine appends at a
// time; reads may go on beside it for what was appended before. Destroying it while an operation runs is
// safe: the operation keeps what it needs, and ends.
class Spool {
  public:
    // Keeps up to `memory_limit` bytes in memory, and twice 256 KiB more as write buffers once they are
    // passed; twice 1 MiB when 2 MiB are in a file on a disk, for at most 8 spools of a SpillDir at a time.
    // `pool` must outlive it.
    Spool(BlockingPool& pool, SpillDir& dir, std::size_t memory_limit);
    ~Spool();
    Spool(Spool&&) noexcept;
    Spool& operator=(Spool&&) noexcept;

    // Resumes when the bytes are taken; they may still be on their way to the file, off the loop, while the
    // next are appended: at most a buffer of them, so a slow disk holds the caller up. `bytes` must stay
    // valid until then. An error (resource_exhausted when there is no space) is final: this append and all
    // later ones report it. What was taken up to there, perhaps a part of this append, stays readable, and
    // size() counts just that.
    Task<Result<>> append(std::string_view bytes);
    // Memory that the next bytes may be put into by whoever receives them, instead of being copied there: the
    // next append() is then of a part from its beginning. Waits as append() does. Empty while the content is
    // in memory, and after an error, which append() tells. Valid until the next call.
    Task<std::span<char>> room();

    // After the last append: when the content has spilled to a file on a disk, that file gets all of it, so
    // that it can be linked into place instead of being copied. An error as from append(); no room for this
    // is none.
    Task<Result<>> complete_file();
    // That file's descriptor; -1 when there is none. It is the content: once it is linked somewhere, others
    // may change it.
    int file() const;

    std::uint64_t size() const;
    bool in_memory() const;
    // The whole content when in_memory(), else the part before the spill. Valid until the next append.
    std::string_view memory() const;

    // Reads at `offset` until `out` is full or the content ends, and returns how much that was; 0 at the end.
    // Off the loop unless the bytes are in memory.
    Task<Result<std::size_t>> read(std::uint64_t offset, std::span<char> out);
    // The same for a pool thread. Appends and reads may go on beside it, destruction must not.
    Result<std::size_t> read_blocking(std::uint64_t offset, std::span<char> out) const;

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace sandbox
