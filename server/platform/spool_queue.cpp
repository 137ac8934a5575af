#include "platform/spool_queue.hpp"

namespace sandbox {
namespace {

constexpr std::size_t kParts = 4;  // of the memory

}  // namespace

SpoolQueue::SpoolQueue(BlockingPool& pool, SpillDir& dir, std::size_t memory_limit)
    : pool_(pool), dir_(dir), part_bytes_(memory_limit / kParts), memory_limit_(memory_limit) {}

Task<Result<>> SpoolQueue::append(std::string_view bytes) {
    // A new part only where it has its place in memory: what does not goes on in the file of the newest.
    bool full = parts_.empty() || parts_.back().size() + bytes.size() > part_bytes_;
    if (full && (parts_.empty() || size() + part_bytes_ <= memory_limit_))
        parts_.emplace_back(pool_, dir_, part_bytes_);
    Spool& newest = parts_.back();
    const std::uint64_t whole = newest.size() + bytes.size();
    appended_ += bytes.size();  // Before any of it can be taken.
    Result<> kept = co_await newest.append(bytes);
    appended_ -= whole - newest.size();
    co_return kept;
}

Task<Result<std::size_t>> SpoolQueue::take(std::span<char> out) {
    std::size_t done = 0;
    while (done < out.size() && !parts_.empty()) {
        Result<std::size_t> count = co_await parts_.front().read(offset_, out.subspan(done));
        if (!count) co_return count;
        done += *count;
        offset_ += *count;
        taken_ += *count;
        if (offset_ < parts_.front().size()) continue;
        // The newest stays while an append to it is under way.
        if (parts_.size() == 1 && size() > 0) break;
        parts_.pop_front();
        offset_ = 0;
    }
    co_return done;
}

}  // namespace sandbox
