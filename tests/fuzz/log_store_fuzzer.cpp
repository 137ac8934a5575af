// Logs of several processes under tight budgets, against a model that keeps everything: what is read is what
// was stored, and what is missing is told. The input is a list of operations.

#include "services/log_store.hpp"

#include <optional>
#include <string>
#include <vector>

#include "fuzz/fuzz_input.hpp"

using namespace sandbox;

namespace {

struct Stored {
    StreamId stream = StreamId::stdout_;
    bool partial = false;
    bool begins = false;
    std::string eol;
    std::string text;
};

Task<> read_into(std::shared_ptr<LogStore> store, std::uint64_t from, std::size_t most,
                 std::optional<LogBatch>* batch) {
    *batch = co_await store->read(from, most);
}

Task<> flow(std::shared_ptr<LogStore> store) { co_await store->flow(); }

class Log {
  public:
    Log(LogBudget& budget, Loop& loop) : store_(std::make_shared<LogStore>(budget)), loop_(&loop) {}

    void append(unsigned how, std::size_t size) {
        const auto stream = static_cast<StreamId>(how % 3);
        const bool partial = (how & 4) != 0;
        const std::string eol = partial ? "" : (how & 8) != 0 ? "\r\n" : "\n";
        const std::string text(size, static_cast<char>('a' + stored_.size() % 26));
        const bool was_closed = store_->closed();
        const auto id = static_cast<std::int64_t>(store_->next_id());
        store_->append(stream, id * 7, text, eol, partial);
        if (was_closed) return;
        bool& open = open_[how % 3];
        stored_.push_back({stream, partial, !open, eol, text});
        open = partial;
        FUZZ_CHECK(store_->next_id() == stored_.size() + 1);
    }
    void flow() { run(::flow(store_)); }
    void end() { store_->mark_ended(); }
    void close() { store_->close(); }

    // One of four readers, each of which goes on where it stopped.
    void read_on(unsigned reader, std::size_t most) {
        std::uint64_t& from = readers_[reader % 4];
        const LogBatch batch = read(from, most);
        check(batch, from, true);
        from = batch.next_id;
    }
    void read_anywhere(unsigned at, std::size_t most) {
        const std::uint64_t from = stored_.empty() ? 1 : at % (stored_.size() + 2);
        check(read(from, most), std::max<std::uint64_t>(from, 1), from <= 1);
    }

    void check_counts() const {
        std::uint64_t bytes = 0;
        std::uint64_t lines = 0;
        for (const Stored& record : stored_) {
            bytes += record.text.size() + record.eol.size();
            lines += record.begins ? 1U : 0U;
        }
        FUZZ_CHECK(store_->bytes() == bytes && store_->lines() == lines);
        FUZZ_CHECK(store_->first_id() >= 1 && store_->first_id() <= store_->next_id());
    }

  private:
    LogBatch read(std::uint64_t from, std::size_t most) {
        std::optional<LogBatch> batch;
        run(read_into(store_, from, most, &batch));
        FUZZ_CHECK(batch.has_value());
        return std::move(*batch);
    }
    void run(Task<> task) {
        bool ended = false;
        spawn_task(*loop_, "task", std::move(task), [&ended] { ended = true; });
        for (int patience = 0; !ended && patience < 5000; ++patience) {
            loop_->restart();
            loop_->run_one_for(std::chrono::milliseconds(1));
        }
        FUZZ_CHECK(ended);
    }
    void check(const LogBatch& batch, std::uint64_t from, bool exact) const {
        std::uint64_t id = from;
        if (batch.gap) {
            const LogGap& gap = *batch.gap;
            FUZZ_CHECK(gap.first_id == id && gap.records > 0 && id + gap.records <= stored_.size() + 1);
            FUZZ_CHECK(!exact || gap.exact);
            std::uint64_t bytes = 0;
            std::uint64_t lines = 0;
            for (std::uint64_t i = 0; i < gap.records; ++i, ++id) {
                bytes += stored_[id - 1].text.size() + stored_[id - 1].eol.size();
                lines += stored_[id - 1].begins ? 1U : 0U;
            }
            if (gap.exact) FUZZ_CHECK(gap.bytes == bytes && gap.lines == lines);
        }
        for (const LogRecord& record : batch.records) {
            FUZZ_CHECK(id <= stored_.size() && record.id == id);
            const Stored& stored = stored_[id - 1];
            FUZZ_CHECK(record.time_ns == static_cast<std::int64_t>(id) * 7);
            FUZZ_CHECK(record.stream == stored.stream && record.partial == stored.partial);
            FUZZ_CHECK(record.text == stored.text && record.eol == stored.eol);
            ++id;
        }
        FUZZ_CHECK(batch.next_id == id);
        // Whoever got nothing is at the end.
        if (batch.records.empty() && !batch.gap) FUZZ_CHECK(from >= stored_.size() + 1);
    }

    std::shared_ptr<LogStore> store_;
    Loop* loop_;
    std::vector<Stored> stored_;
    bool open_[3] = {};
    std::uint64_t readers_[4] = {1, 1, 1, 1};
};

LogLimits limits_of(unsigned choice) {
    LogLimits limits;
    limits.store_bytes = 2048U << (choice & 3);
    limits.store_lines = (choice & 4) != 0 ? 5 : 1000;
    limits.store_memory = (choice & 8) != 0 ? 1024 : 8192;
    limits.total_memory = 16384;
    limits.disk_budget = (choice & 16) != 0 ? 12288 : 1U << 20;
    limits.memory_budget = 32768;
    return limits;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Loop loop{1};
    static BlockingPool pool{loop, "files", 1, 2};
    static SpillDir dir{"", ""};
    if (size > 700) return 0;  // beyond it readers that left may be forgotten
    const fuzz::Input input(data, size);
    LogBudget budget(loop, pool, dir, limits_of(input.choice));
    std::vector<Log> logs;
    for (fuzz::Bytes bytes(input.text); !bytes.empty();) {
        const unsigned what = bytes.next();
        if (logs.empty() || (what == 255 && logs.size() < 4)) logs.emplace_back(budget, loop);
        Log& log = logs[what / 64 % logs.size()];
        switch (what % 16) {
            case 8:
                log.flow();
                break;
            case 9:
                log.end();
                break;
            case 10:
                if (bytes.next() % 4 == 0) log.close();
                break;
            case 11: {
                const unsigned reader = bytes.next();
                log.read_on(reader, 1U + 64 * bytes.next());
            } break;
            case 12: {
                const unsigned at = bytes.next();
                log.read_anywhere(at, 1U + 64 * bytes.next());
            } break;
            case 13:
                if (bytes.next() % 8 == 0)
                    logs.erase(logs.begin() + static_cast<std::ptrdiff_t>(what / 64 % logs.size()));
                break;
            case 14:
                log.append(bytes.next(), 40U * bytes.next());
                break;
            default:
                log.append(bytes.next(), what % 8 * 9);
                break;
        }
    }
    for (Log& log : logs) {
        log.check_counts();
        for (unsigned reader = 0; reader < 4; ++reader) log.read_on(reader, 1U << 20);
    }
    return 0;
}
