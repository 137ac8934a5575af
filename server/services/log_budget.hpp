#pragma once
// The inside of LogBudget: who has how much, who gives way, and the one coroutine that moves chunks to the
// spill file.

#include <cstddef>
#include <deque>
#include <list>
#include <memory>
#include <vector>

#include "platform/block_file.hpp"
#include "platform/event.hpp"
#include "services/log_chunk.hpp"
#include "services/log_store.hpp"

namespace sandbox {

struct LogBudget::Impl : std::enable_shared_from_this<LogBudget::Impl> {
    Impl(Loop& l, BlockingPool& pool, SpillDir& dir, LogLimits given);

    // The memory a store may hold before its producer has to wait.
    std::size_t store_memory() const;
    // A spilled chunk takes whole blocks.
    std::size_t charge_of(std::size_t chunk_size) const;
    void add(LogStore& store, std::size_t charge, std::size_t memory_bytes);
    void remove(LogStore& store, std::size_t charge, std::size_t memory_bytes);
    // Drops what is over the budgets.
    void enforce();
    // Queues a store's sealed chunks for the disk.
    void want_spill(LogStore& store);

    Loop& loop;
    const LogLimits limits;
    const bool has_disk;
    BlockFile file;
    Event progress;  // the spiller has done something, or has given up
    std::size_t charge = 0;
    std::size_t memory = 0;
    std::list<LogStore*> running;
    std::list<LogStore*> ended;  // in the order of their ends

  private:
    struct Job {
        std::shared_ptr<LogStore> store;
        std::shared_ptr<LogChunk> chunk;
        BlockFile::Blocks blocks;
    };
    bool evict_one();
    static Task<> spill(std::shared_ptr<Impl> self);
    void next_jobs(std::vector<Job>& jobs);
    void finish(std::vector<Job> jobs, bool written);
    void give_up();

    std::deque<std::weak_ptr<LogStore>> queue_;
    bool spilling_ = false;
    bool gave_up_ = false;
};

}  // namespace sandbox
