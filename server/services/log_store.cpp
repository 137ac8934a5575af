#include "services/log_store.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "services/log_budget.hpp"
#include "services/log_chunk.hpp"

namespace sandbox {
namespace {

constexpr std::size_t kLargestChunk = 64U * 1024;
constexpr std::size_t kLeastChunk = 512;
constexpr std::size_t kMostDropped = 512;
constexpr std::size_t kMostMarks = 256;

}  // namespace

struct LogStore::Reading {
    Position at;         // what comes next
    bool exact = false;  // at.lines and at.bytes are known
    std::uint64_t start = 0;
    std::size_t max_bytes = 0;
    std::size_t taken = 0;
    LogBatch batch;

    bool full() const { return taken >= max_bytes && !batch.records.empty(); }
};

LogStore::LogStore(LogBudget& budget)
    : budget_(budget.impl_),
      changed_(budget_->loop),
      listed_(budget_->running.insert(budget_->running.end(), this)) {}

LogStore::~LogStore() {
    for (const auto& chunk : chunks_) chunk->dropped = true;
    budget_->remove(*this, charge_, memory_);
    (ended_ ? budget_->ended : budget_->running).erase(listed_);
}

std::size_t LogStore::chunk_target() const {
    std::size_t target = std::min(budget_->store_memory() / 2, budget_->limits.store_bytes / 8);
    return std::clamp(target, kLeastChunk, kLargestChunk);
}

LogChunk& LogStore::open_chunk(std::size_t record_size) {
    if (!chunks_.empty() && !chunks_.back()->sealed) {
        LogChunk& open = *chunks_.back();
        std::size_t target = chunk_target();
        if (open.size + record_size <= target) {
            // Doubling, but never past the target.
            if (open.data.capacity() < open.size + record_size) {
                open.data.reserve(std::min(target, 2 * (open.size + record_size)));
            }
            return open;
        }
        seal();
    }
    auto chunk = std::make_shared<LogChunk>();
    chunk->first_id = next_id_;
    chunk->lines_before = lines_;
    chunk->bytes_before = bytes_;
    chunk->data.reserve(record_size);
    chunks_.push_back(std::move(chunk));
    ++unspilled_;
    return *chunks_.back();
}

void LogStore::seal() {
    LogChunk& chunk = *chunks_.back();
    chunk.sealed = true;
    std::size_t charge = budget_->charge_of(chunk.size);
    budget_->add(*this, charge - chunk.charge, 0);
    chunk.charge = charge;
    if (memory_ > budget_->store_memory() / 2) budget_->want_spill(*this);
}

void LogStore::append(StreamId stream, std::int64_t time_ns, std::string_view text, std::string_view eol,
                      bool partial) {
    if (closed_) return;
    bool& line_open = line_open_[static_cast<std::size_t>(stream)];
    LogRecordView record{time_ns, stream, partial, !line_open, text, eol};
    std::size_t size = encoded_size(text.size(), eol.size());
    LogChunk& chunk = open_chunk(size);
    chunk.append(record);
    chunk.charge += size;
    kept_ += size;
    budget_->add(*this, size, size);
    ++next_id_;
    if (record.begins_line) ++lines_;
    bytes_ += record.bytes();
    line_open = partial;
    if (chunk.size >= chunk_target()) seal();
    enforce();
    budget_->enforce();
    changed_.notify();
}

void LogStore::enforce() {
    while (!chunks_.empty() && kept_ > budget_->limits.store_bytes) drop_front();
    std::uint64_t line = first_line();
    if (line == 0) return;
    while (!chunks_.empty() && chunks_.front()->lines_before + chunks_.front()->lines <= line) drop_front();
}

void LogStore::drop_front() {
    std::shared_ptr<LogChunk> chunk = std::move(chunks_.front());
    chunks_.pop_front();
    // Its blocks are freed with it, which is when the last reader that is at it has gone on.
    chunk->dropped = true;
    kept_ -= chunk->size;
    if (!chunk->spilled) --unspilled_;
    budget_->remove(*this, chunk->charge, chunk->spilled ? 0 : chunk->size);
    remember_dropped({chunk->first_id, chunk->lines_before, chunk->bytes_before});
}

std::uint64_t LogStore::first_line() const {
    std::uint64_t keep = budget_->limits.store_lines;
    return lines_ > keep ? lines_ - keep : 0;
}

std::uint64_t LogStore::first_id() const {
    if (chunks_.empty()) return next_id_;
    const LogChunk& front = *chunks_.front();
    std::uint64_t line = first_line();
    if (line == 0 || line < front.lines_before) return front.first_id;
    return front.line_start(line - front.lines_before);
}

Task<> LogStore::flow() {
    auto self = shared_from_this();
    if (memory_ <= budget_->store_memory()) co_return;
    budget_->want_spill(*this);
    while (memory_ > budget_->store_memory() && (queued_ || spills_ > 0)) co_await budget_->progress.wait();
}

void LogStore::mark_ended() {
    if (ended_) return;
    ended_ = true;
    budget_->ended.splice(budget_->ended.end(), budget_->running, listed_);
}

void LogStore::close() {
    if (closed_) return;
    mark_ended();
    closed_ = true;
    if (!chunks_.empty() && !chunks_.back()->sealed) {
        chunks_.back()->data.shrink_to_fit();
        seal();
    }
    if (unspilled_ > 0) budget_->want_spill(*this);
    budget_->enforce();
    changed_.notify();
}

std::shared_ptr<LogChunk> LogStore::chunk_with(std::uint64_t id) const {
    auto after =
        std::upper_bound(chunks_.begin(), chunks_.end(), id,
                         [](std::uint64_t value, const auto& chunk) { return value < chunk->first_id; });
    return after == chunks_.begin() ? nullptr : *std::prev(after);
}

void LogStore::remember_dropped(Position position) {
    if (dropped_.size() >= kMostDropped) {
        // Every second one goes; the first stays, it is where all begins.
        std::size_t kept = 0;
        for (std::size_t i = 0; i < dropped_.size(); i += 2) dropped_[kept++] = dropped_[i];
        dropped_.resize(kept);
    }
    dropped_.push_back(position);
}

LogStore::Position LogStore::position_of(std::uint64_t id, bool* exact) const {
    *exact = true;
    if (id <= 1) return {};
    if (id >= next_id_) return {next_id_, lines_, bytes_};
    if (auto mark = marks_.find(id); mark != marks_.end())
        return {id, mark->second.lines, mark->second.bytes};
    Position below;
    Position above{next_id_, lines_, bytes_};
    if (auto chunk = chunk_with(id)) {
        below = {chunk->first_id, chunk->lines_before, chunk->bytes_before};
        above = {below.id + chunk->records, below.lines + chunk->lines, below.bytes + chunk->bytes};
    } else {
        auto after = std::upper_bound(dropped_.begin(), dropped_.end(), id,
                                      [](std::uint64_t value, const Position& p) { return value < p.id; });
        if (after != dropped_.begin()) below = *std::prev(after);
        if (after != dropped_.end()) {
            above = *after;
        } else if (!chunks_.empty()) {
            const LogChunk& front = *chunks_.front();
            above = {front.first_id, front.lines_before, front.bytes_before};
        }
    }
    if (below.id == id) return below;
    *exact = false;
    auto between = [&](std::uint64_t low, std::uint64_t high) {
        double part = static_cast<double>(id - below.id) / static_cast<double>(above.id - below.id);
        return low + static_cast<std::uint64_t>(std::llround(part * static_cast<double>(high - low)));
    };
    return {id, between(below.lines, above.lines), between(below.bytes, above.bytes)};
}

void LogStore::pass_gap(Reading& reading, Position to) {
    if (!reading.exact) {
        bool exact = false;
        reading.at = position_of(reading.at.id, &exact);
        reading.exact = exact;
    }
    Position& at = reading.at;
    // An estimate can lie behind where the gap ends.
    at.lines = std::min(at.lines, to.lines);
    at.bytes = std::min(at.bytes, to.bytes);
    // Two gaps in a row are one.
    if (!reading.batch.gap) reading.batch.gap = LogGap{at.id, 0, 0, 0, true};
    LogGap& gap = *reading.batch.gap;
    gap.records += to.id - at.id;
    gap.lines += to.lines - at.lines;
    gap.bytes += to.bytes - at.bytes;
    gap.exact = gap.exact && reading.exact;
    at = to;
    reading.exact = true;
}

void LogStore::take_records(Reading& reading, const LogChunk& chunk, std::string_view data) {
    Position here{chunk.first_id, chunk.lines_before, chunk.bytes_before};
    LogRecordView record;
    while (here.id < chunk.first_id + chunk.records && !reading.full()) {
        if (!decode_log_record(data, record)) break;
        if (here.id == reading.at.id) {
            reading.at = here;
            reading.exact = true;
        }
        if (here.id >= reading.start) {
            if (here.id > reading.at.id) pass_gap(reading, here);
            reading.batch.records.push_back({here.id, record.time_ns, record.stream, record.partial,
                                             std::string(record.eol), std::string(record.text)});
            reading.taken += encoded_size(record.text.size(), record.eol.size());
        }
        ++here.id;
        here.lines += record.begins_line ? 1 : 0;
        here.bytes += record.bytes();
        if (here.id > reading.start) reading.at = here;
    }
}

Task<LogBatch> LogStore::read(std::uint64_t from_id, std::size_t max_bytes) {
    auto self = shared_from_this();
    Reading reading;
    reading.max_bytes = max_bytes;
    reading.at.id = std::max<std::uint64_t>(from_id, 1);
    while (!reading.full() && reading.at.id < next_id_) {
        reading.start = std::max(reading.at.id, first_id());
        // A gap after records waits for the next batch.
        if (reading.start > reading.at.id && !reading.batch.records.empty()) break;
        std::shared_ptr<LogChunk> chunk = chunk_with(reading.start);
        if (!chunk) {
            pass_gap(reading, {next_id_, lines_, bytes_});
            break;
        }
        std::string loaded;
        bool usable = true;
        if (chunk->spilled) {
            loaded.resize(chunk->size);
            Result<> result = co_await budget_->file.read(chunk->blocks, loaded);
            usable = result.has_value();
        }
        if (usable) take_records(reading, *chunk, chunk->spilled ? loaded : chunk->data);
        Position end{chunk->first_id + chunk->records, chunk->lines_before + chunk->lines,
                     chunk->bytes_before + chunk->bytes};
        if (reading.full() || reading.at.id >= end.id) continue;
        // The file could not be read, or holds something else: as good as dropped.
        if (!reading.batch.records.empty()) break;
        pass_gap(reading, end);
    }
    reading.batch.next_id = reading.at.id;
    if (reading.at.id != from_id && reading.exact) move_mark(from_id, reading.at);
    co_return std::move(reading.batch);
}

void LogStore::move_mark(std::uint64_t from_id, Position to) {
    auto left = marks_.find(from_id);
    if (left != marks_.end() && left->second.readers > 0) --left->second.readers;
    Mark& mark = marks_[to.id];
    mark.lines = to.lines;
    mark.bytes = to.bytes;
    ++mark.readers;
    if (marks_.size() <= kMostMarks) return;
    std::erase_if(marks_, [](const auto& each) { return each.second.readers == 0; });
    // Those left are of readers that went away without reading on, most likely the oldest.
    if (marks_.size() > kMostMarks) marks_.erase(marks_.begin());
}

}  // namespace sandbox
