#pragma once
// The inside of SpillDir, shared with the spools that can outlive it by an operation.

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "platform/spool.hpp"

namespace sandbox {

struct SpillDir::Impl {
  public:
    Impl(const std::string& preferred, const std::string& tmpdir);
    bool on_disk() const;
    std::vector<std::string> paths() const;
    Result<SpillFile> open_file();
    bool reserve_memory(std::size_t bytes);
    void release_memory(std::size_t bytes);
    // For spools that write in larger pieces: a few of them at a time. False when there are enough.
    bool reserve_large_pieces();
    void release_large_pieces() { --large_spools_; }

  private:
    struct Candidate {
        enum class Kind { any, disk };
        std::string path;
        Kind kind;
    };
    // Sets directory_ to the first candidate in which a file can be made, and returns that file.
    UniqueFd find_directory();

    std::vector<Candidate> candidates_;
    mutable std::mutex mutex_;  // held during calls that can hang
    UniqueFd directory_;
    std::atomic<const Candidate*> chosen_{nullptr};  // what directory_ is
    std::atomic<std::size_t> memory_used_{0};
    static constexpr unsigned kLargeSpools = 8;
    std::atomic<unsigned> large_spools_{0};
};

}  // namespace sandbox
