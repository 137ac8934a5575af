#include "services/log_budget.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "base/log.hpp"

namespace sandbox {
namespace {

constexpr std::size_t kBlock = 4096;
constexpr std::size_t kLeastStoreMemory = 8192;
constexpr std::size_t kSpillAtOnce = 512U * 1024;

BlockFile::Options file_options(const LogLimits& limits) {
    BlockFile::Options options;
    options.block_size = kBlock;
    options.keep_free = limits.disk_budget / 8;
    options.retry = limits.disk_retry;
    return options;
}

}  // namespace

LogBudget::LogBudget(Loop& loop, BlockingPool& pool, SpillDir& dir, LogLimits limits)
    : impl_(std::make_shared<Impl>(loop, pool, dir, limits)) {}
LogBudget::~LogBudget() = default;

std::size_t LogBudget::bytes() const { return impl_->charge; }
std::size_t LogBudget::memory_bytes() const { return impl_->memory; }
std::size_t LogBudget::disk_bytes() const { return impl_->file.disk_bytes(); }

LogBudget::Impl::Impl(Loop& l, BlockingPool& pool, SpillDir& dir, LogLimits given)
    : loop(l), limits(given), has_disk(dir.on_disk()), file(l, pool, dir, file_options(given)), progress(l) {}

std::size_t LogBudget::Impl::store_memory() const {
    std::size_t share = limits.total_memory / std::max<std::size_t>(running.size(), 1);
    return std::min(limits.store_memory, std::max(share, kLeastStoreMemory));
}

std::size_t LogBudget::Impl::charge_of(std::size_t chunk_size) const {
    return has_disk ? (chunk_size + kBlock - 1) / kBlock * kBlock : chunk_size;
}

void LogBudget::Impl::add(LogStore& store, std::size_t more_charge, std::size_t more_memory) {
    store.charge_ += more_charge;
    store.memory_ += more_memory;
    charge += more_charge;
    memory += more_memory;
}

void LogBudget::Impl::remove(LogStore& store, std::size_t less_charge, std::size_t less_memory) {
    store.charge_ -= less_charge;
    store.memory_ -= less_memory;
    charge -= less_charge;
    memory -= less_memory;
}

void LogBudget::Impl::enforce() {
    std::size_t budget = has_disk ? limits.disk_budget : limits.memory_budget;
    while (charge > budget && evict_one()) continue;
    // With the disk full, what is dropped there makes room for what is in memory.
    auto memory_is_full = [this] {
        return memory > limits.memory_budget && (!has_disk || !file.may_grow()) &&
               memory > limits.memory_budget + file.reusable_bytes();
    };
    while (memory_is_full() && evict_one()) continue;
}

bool LogBudget::Impl::evict_one() {
    for (LogStore* store : ended) {
        if (store->chunks_.empty()) continue;
        store->drop_front();
        return true;
    }
    auto less = [](const LogStore* a, const LogStore* b) { return a->charge_ < b->charge_; };
    auto largest = std::max_element(running.begin(), running.end(), less);
    if (largest == running.end() || (*largest)->chunks_.empty()) return false;
    (*largest)->drop_front();
    return true;
}

void LogBudget::Impl::want_spill(LogStore& store) {
    if (!has_disk || store.queued_) return;
    store.queued_ = true;
    queue_.push_back(store.weak_from_this());
    if (spilling_) return;
    spilling_ = true;
    spawn_task(loop, "log spill", spill(shared_from_this()));
}

Task<> LogBudget::Impl::spill(std::shared_ptr<Impl> self) {
    std::vector<Job> jobs;
    try {
        for (;;) {
            self->next_jobs(jobs);
            if (jobs.empty()) break;
            std::vector<BlockFile::Piece> pieces;
            pieces.reserve(jobs.size());
            for (Job& job : jobs) pieces.push_back({&job.blocks, job.chunk->data});
            Result<> written = co_await self->file.write(std::move(pieces));
            self->finish(std::exchange(jobs, {}), written.has_value());
        }
    } catch (
        const std::bad_alloc& error) {  // As with a full disk: what waits for us goes on, and asks again.
        log::error("logs not spilled", {{"error", error.what()}});
        self->finish(std::move(jobs), false);
        self->give_up();
    }
    self->spilling_ = false;
    self->progress.notify();
}

// Takes them over one by one into `jobs`, so that none is lost when it throws.
void LogBudget::Impl::next_jobs(std::vector<Job>& jobs) {
    std::size_t total = 0;
    while (!queue_.empty() && total < kSpillAtOnce) {
        std::shared_ptr<LogStore> store = queue_.front().lock();
        queue_.pop_front();
        if (!store) continue;
        store->queued_ = false;
        // A quarter stays, for readers that follow; nothing but crumbs when no more will come.
        std::size_t keep = store->closed_ ? 0 : store_memory() / 4;
        std::size_t left = store->memory_;
        for (std::size_t i = store->chunks_.size() - store->unspilled_;
             i < store->chunks_.size() && left > keep; ++i) {
            const std::shared_ptr<LogChunk>& chunk = store->chunks_[i];
            if (!chunk->sealed) break;
            if (store->closed_ && chunk->size < kBlock / 2 && chunk == store->chunks_.back()) break;
            if (total >= kSpillAtOnce) {
                store->queued_ = true;
                queue_.push_back(store);
                break;
            }
            BlockFile::Blocks blocks = file.allocate(chunk->size);
            if (blocks.empty()) {
                give_up();
                return;
            }
            total += chunk->size;
            left -= chunk->size;
            jobs.push_back({store, chunk, std::move(blocks)});
            ++store->spills_;
        }
    }
}

void LogBudget::Impl::finish(std::vector<Job> jobs, bool written) {
    for (Job& job : jobs) {
        LogStore& store = *job.store;
        LogChunk& chunk = *job.chunk;
        --store.spills_;
        if (!written) continue;
        chunk.blocks = std::move(job.blocks);
        chunk.spilled = true;
        std::string().swap(chunk.data);  // An assignment of a short string would keep the buffer.
        if (chunk.dropped) continue;
        remove(store, 0, chunk.size);
        --store.unspilled_;
    }
    jobs.clear();
    if (!written) give_up();
    // What could not be written then can be written now.
    if (written && std::exchange(gave_up_, false)) {
        for (LogStore* store : ended) want_spill(*store);
        for (LogStore* store : running) want_spill(*store);
    }
    progress.notify();
    enforce();
}

void LogBudget::Impl::give_up() {
    gave_up_ = true;
    for (const std::weak_ptr<LogStore>& waiting : queue_) {
        if (auto store = waiting.lock()) store->queued_ = false;
    }
    queue_.clear();
    progress.notify();
}

}  // namespace sandbox
