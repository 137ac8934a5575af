#pragma once
// The log of a background process: what it wrote, as records with ids 1, 2, 3, …, kept as far as the budgets
// allow and read from any id on by any number of readers. What a record holds is fixed when it is stored.
// Nothing is dropped silently: a reader that asks for what is no longer there is told how many lines and
// bytes are missing.
//
// Loop thread only.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/blocking_pool.hpp"
#include "platform/event.hpp"
#include "platform/spool.hpp"
#include "services/output.hpp"

namespace sandbox {

struct LogChunk;

struct LogRecord {
    std::uint64_t id = 0;
    std::int64_t time_ns = 0;  // since the epoch
    StreamId stream = StreamId::stdout_;
    bool partial = false;  // the line goes on in the stream's next record
    std::string eol;
    std::string text;
};

// What is missing: the records from first_id up to the one that follows.
struct LogGap {
    std::uint64_t first_id = 0;
    std::uint64_t records = 0;
    std::uint64_t lines = 0;  // those whose beginning is missing
    std::uint64_t bytes = 0;  // of text and line ends
    // False when lines and bytes are an estimate: a reader that starts at an id that had been dropped before
    // it came, and that no reader had stopped at. Then they are right to within what a chunk (64 KiB) holds
    // for a recent id, and coarser for an older one.
    bool exact = true;
};

struct LogBatch {
    std::optional<LogGap> gap;  // before the records
    std::vector<LogRecord> records;
    std::uint64_t next_id = 1;  // where to read on
};

struct LogLimits {
    // Of one store. The size of a record is its text, its line end and 16 bytes.
    std::size_t store_bytes = 16U << 20U;
    std::size_t store_lines = 10'000;
    std::size_t store_memory = 256U << 10U;
    // Of all stores together. They share total_memory while there is a disk to spill to; beyond that many
    // stores each still gets 8 KiB. Without a disk, or while it is full, memory_budget is all there is.
    std::size_t total_memory = 16U << 20U;
    std::size_t disk_budget = 256U << 20U;
    std::size_t memory_budget = 32U << 20U;
    // How long a full disk is left alone.
    std::chrono::milliseconds disk_retry{5000};
};

// What all stores share: one spill file and the budgets. When these are passed, the oldest records of the
// process that ended first go first; with no ended one left, those of the running one that holds the most.
class LogBudget {
  public:
    // `loop` and `pool` must outlive it and all its stores; `dir` too. The stores may outlive the LogBudget.
    LogBudget(Loop& loop, BlockingPool& pool, SpillDir& dir, LogLimits limits = {});
    ~LogBudget();
    LogBudget(const LogBudget&) = delete;
    LogBudget& operator=(const LogBudget&) = delete;

    // What counts against the budget, and where it is. For the metrics.
    std::size_t bytes() const;
    std::size_t memory_bytes() const;
    std::size_t disk_bytes() const;

    struct Impl;

  private:
    friend class LogStore;
    std::shared_ptr<Impl> impl_;
};

// Owned by shared_ptr (std::make_shared): by its process, and by every coroutine that calls read() or flow()
// or waits for changed(), until that has ended. So a process can be forgotten while readers are at its log.
class LogStore : public std::enable_shared_from_this<LogStore> {
  public:
    explicit LogStore(LogBudget& budget);
    ~LogStore();
    LogStore(const LogStore&) = delete;
    LogStore& operator=(const LogStore&) = delete;

    // Stores a record under next_id(), and may drop old ones, even itself when it alone is over a budget.
    // Copies; never waits. A record is a line, or with `partial` a piece of one that the stream's next record
    // continues. Ignored after close().
    void append(StreamId stream, std::int64_t time_ns, std::string_view text, std::string_view eol,
                bool partial);
    // To be awaited after appending: waits while what is still to be spilled is over store_memory. Returns at
    // once when there is no disk, or when it is full.
    Task<> flow();

    // The process has ended, which makes its records the first to go; more may come from whoever holds its
    // pipes.
    void mark_ended();
    // No more records. Moves what is in memory to the disk.
    void close();
    bool closed() const { return closed_; }

    // The oldest record that is kept; next_id() when there is none.
    std::uint64_t first_id() const;
    // The id of the next record.
    std::uint64_t next_id() const { return next_id_; }
    // Ever stored: lines begun, and bytes of text and line ends.
    std::uint64_t lines() const { return lines_; }
    std::uint64_t bytes() const { return bytes_; }
    // In memory now, in the measure of the limits.
    std::size_t memory_bytes() const { return memory_; }

    // Records from max(from_id, first_id()) on, until their texts come to max_bytes (at least one record when
    // there is one), preceded by a gap when some from from_id on are missing. Empty, with next_id as asked
    // for, when there is nothing yet: then wait for changed(). Records dropped while they are read are still
    // delivered. Keep max_bytes at 64 KiB or more: less reads the same chunk of the file again.
    Task<LogBatch> read(std::uint64_t from_id, std::size_t max_bytes);

    // Notified when a record was appended, and at close().
    Event& changed() { return changed_; }

  private:
    friend struct LogBudget::Impl;

    // A place between two records, with what was stored before it.
    struct Position {
        std::uint64_t id = 1;
        std::uint64_t lines = 0;
        std::uint64_t bytes = 0;
    };
    struct Mark {
        std::uint64_t lines = 0;
        std::uint64_t bytes = 0;
        std::size_t readers = 0;
    };
    struct Reading;

    std::size_t chunk_target() const;
    LogChunk& open_chunk(std::size_t record_size);
    void seal();
    void drop_front();
    void enforce();
    // The first line that the line limit keeps, counted from 0.
    std::uint64_t first_line() const;
    std::shared_ptr<LogChunk> chunk_with(std::uint64_t id) const;
    // Where `id` is, known or estimated.
    Position position_of(std::uint64_t id, bool* exact) const;
    void remember_dropped(Position position);
    void take_records(Reading& reading, const LogChunk& chunk, std::string_view data);
    void pass_gap(Reading& reading, Position to);
    void move_mark(std::uint64_t from_id, Position to);

    const std::shared_ptr<LogBudget::Impl> budget_;
    Event changed_;
    // The back one may be open (not sealed); the last unspilled_ of them are in memory.
    std::deque<std::shared_ptr<LogChunk>> chunks_;
    std::size_t unspilled_ = 0;
    std::uint64_t next_id_ = 1;
    std::uint64_t lines_ = 0;
    std::uint64_t bytes_ = 0;
    std::size_t kept_ = 0;    // the chunks' sizes
    std::size_t memory_ = 0;  // the unspilled ones' sizes
    std::size_t charge_ = 0;
    std::array<bool, 3> line_open_{};
    bool ended_ = false;
    bool closed_ = false;
    std::size_t spills_ = 0;  // chunks of ours that are being written
    bool queued_ = false;     // waiting for the spiller
    std::list<LogStore*>::iterator listed_;
    // Where dropped chunks began, thinned out when there are many, to estimate what lay between.
    std::vector<Position> dropped_;
    // Where readers stopped, so that what is dropped before they go on can be told exactly.
    std::map<std::uint64_t, Mark> marks_;
};

}  // namespace sandbox
