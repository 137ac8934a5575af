#include "services/log_store.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "support/run_task.hpp"
#include "support/tiny_disk.hpp"

namespace sandbox {
namespace {

using test::run_loop;
using test::run_task;

constexpr std::size_t kOverhead = 16;

// Everything that was ever appended.
struct Model {
    std::vector<LogRecord> records;
    std::vector<bool> begins;
    bool open[3] = {};

    void append(LogStore& store, StreamId stream, std::string text, std::string eol, bool partial) {
        std::uint64_t id = store.next_id();
        std::int64_t time = static_cast<std::int64_t>(id) * 1'000'003;
        store.append(stream, time, text, eol, partial);
        bool& line_open = open[static_cast<int>(stream)];
        begins.push_back(!line_open);
        line_open = partial;
        records.push_back({id, time, stream, partial, std::move(eol), std::move(text)});
    }
    void line(LogStore& store, std::string text) {
        append(store, StreamId::stdout_, std::move(text), "\n", false);
    }

    LogGap gap(std::uint64_t from, std::uint64_t to) const {
        LogGap gap{from, to - from, 0, 0, true};
        for (std::uint64_t id = from; id < to; ++id) {
            gap.lines += begins[id - 1] ? 1U : 0U;
            gap.bytes += records[id - 1].text.size() + records[id - 1].eol.size();
        }
        return gap;
    }
    // The first id that the line limit alone would keep.
    std::uint64_t first_of_last(std::size_t lines) const {
        std::size_t seen = 0;
        for (std::size_t i = records.size(); i-- > 0;) {
            if (begins[i] && ++seen == lines) {
                bool older = std::find(begins.begin(), begins.begin() + static_cast<std::ptrdiff_t>(i),
                                       true) != begins.begin() + static_cast<std::ptrdiff_t>(i);
                return older ? i + 1 : 1;
            }
        }
        return 1;
    }
    std::size_t size_from(std::uint64_t id) const {
        std::size_t size = 0;
        for (; id <= records.size(); ++id)
            size += records[id - 1].text.size() + records[id - 1].eol.size() + kOverhead;
        return size;
    }

    // A batch that was read from `from` is what was appended, with nothing missing that it does not tell of.
    void check(const LogBatch& batch, std::uint64_t from, bool exact = true) const {
        std::uint64_t id = std::max<std::uint64_t>(from, 1);
        if (batch.gap) {
            ASSERT_EQ(batch.gap->first_id, id);
            ASSERT_GT(batch.gap->records, 0U);
            LogGap expected = gap(id, id + batch.gap->records);
            if (exact) {
                ASSERT_TRUE(batch.gap->exact) << "from " << from;
            }
            if (batch.gap->exact) {
                ASSERT_EQ(batch.gap->lines, expected.lines);
                ASSERT_EQ(batch.gap->bytes, expected.bytes);
            }
            id += batch.gap->records;
        }
        for (const LogRecord& record : batch.records) {
            const LogRecord& expected = records.at(id - 1);
            ASSERT_EQ(record.id, id);
            ASSERT_EQ(record.time_ns, expected.time_ns);
            ASSERT_EQ(record.stream, expected.stream);
            ASSERT_EQ(record.partial, expected.partial);
            ASSERT_TRUE(record.eol == expected.eol);
            ASSERT_TRUE(record.text == expected.text);
            ++id;
        }
        ASSERT_EQ(batch.next_id, id);
    }
};

LogLimits small_limits() {
    LogLimits limits;
    limits.store_bytes = 64 << 10;
    limits.store_lines = 1000;
    limits.store_memory = 8 << 10;
    limits.disk_budget = 256 << 10;
    limits.memory_budget = 32 << 10;
    return limits;
}

class LogStoreTest : public testing::Test {
  protected:
    void make_budget(const LogLimits& limits) { budget_.emplace(loop_, pool_, dir_, limits); }
    std::shared_ptr<LogStore> make_store() { return std::make_shared<LogStore>(*budget_); }
    LogBatch read(LogStore& store, std::uint64_t from, std::size_t max_bytes = 1 << 20) {
        return run_task(loop_, store.read(from, max_bytes));
    }
    // Everything there is, in batches; checks them and returns the first id that came.
    std::uint64_t read_all(LogStore& store, const Model& model, std::uint64_t from, std::size_t max_bytes) {
        std::uint64_t first = 0;
        for (;;) {
            LogBatch batch = read(store, from, max_bytes);
            model.check(batch, from);
            if (testing::Test::HasFatalFailure()) return 0;
            if (first == 0 && !batch.records.empty()) first = batch.records.front().id;
            if (batch.next_id == from) return first;
            from = batch.next_id;
        }
    }

    Loop loop_{1};
    BlockingPool pool_{loop_, "test", 1, 2};
    SpillDir dir_{"", ""};
    std::optional<LogBudget> budget_;
};

TEST_F(LogStoreTest, HoldsWhatARecordHas) {
    make_budget({});
    auto store = make_store();
    Model model;
    EXPECT_EQ(store->first_id(), 1U);
    EXPECT_EQ(store->next_id(), 1U);
    model.append(*store, StreamId::stdout_, "hello", "\n", false);
    model.append(*store, StreamId::stderr_, std::string("\0\xff\r", 3), "\r\n", false);
    model.append(*store, StreamId::pty, "", "", true);
    model.append(*store, StreamId::stdout_, "", "\n", false);
    model.append(*store, StreamId::stdout_, std::string(1 << 20, 'x'), "", true);
    EXPECT_EQ(store->next_id(), 6U);
    LogBatch batch = read(*store, 1, 10 << 20);
    model.check(batch, 1);
    EXPECT_EQ(batch.records.size(), 5U);
    EXPECT_FALSE(batch.gap);
    EXPECT_EQ(store->lines(), 5U);
    // 0 is read as 1; the end, and what lies behind it, give nothing.
    EXPECT_EQ(read(*store, 0).records.size(), 5U);
    EXPECT_EQ(read(*store, 3, 1).records.size(), 1U);
    EXPECT_TRUE(read(*store, 6).records.empty());
    EXPECT_EQ(read(*store, 6).next_id, 6U);
    EXPECT_EQ(read(*store, 900).next_id, 900U);
    store->close();
    EXPECT_TRUE(store->closed());
    store->append(StreamId::stdout_, 0, "late", "\n", false);
    EXPECT_EQ(store->next_id(), 6U);
    run_loop(loop_);
    model.check(read(*store, 1), 1);
}

TEST_F(LogStoreTest, KeepsExactlyTheLastLines) {
    make_budget({});
    auto store = make_store();
    Model model;
    for (int i = 1; i <= 10'000; ++i) model.line(*store, std::to_string(i));
    EXPECT_EQ(store->first_id(), 1U);
    for (int i = 10'001; i <= 25'000; ++i) {
        model.line(*store, std::to_string(i));
        ASSERT_EQ(store->first_id(), static_cast<std::uint64_t>(i - 9'999));
    }
    EXPECT_EQ(read_all(*store, model, 1, 64 << 10), 15'001U);
    LogBatch batch = read(*store, 1);
    ASSERT_TRUE(batch.gap);
    EXPECT_EQ(batch.gap->lines, 15'000U);
    store->close();
    run_loop(loop_);
    EXPECT_EQ(store->memory_bytes(), 0U);
    EXPECT_EQ(read_all(*store, model, 1, 64 << 10), 15'001U);
}

TEST_F(LogStoreTest, PiecesOfALineCountAsOne) {
    LogLimits limits;
    limits.store_lines = 3;
    make_budget(limits);
    auto store = make_store();
    Model model;
    for (int line = 0; line < 6; ++line) {
        for (int piece = 0; piece < 5; ++piece) {
            model.append(*store, StreamId::stdout_, "o" + std::to_string(line), "", true);
        }
        model.append(*store, StreamId::stdout_, "end", "\n", false);
    }
    // Three lines of six pieces each.
    EXPECT_EQ(store->first_id(), 19U);
    // A line of stderr between the pieces of one of stdout makes neither of them two.
    model.append(*store, StreamId::stdout_, "a", "", true);
    model.append(*store, StreamId::stderr_, "b", "\n", false);
    model.append(*store, StreamId::stdout_, "c", "", true);
    model.append(*store, StreamId::stdout_, "d", "\n", false);
    EXPECT_EQ(store->lines(), 8U);
    EXPECT_EQ(store->first_id(), 31U);
    EXPECT_EQ(read_all(*store, model, 1, 1), 31U);
    LogBatch batch = read(*store, 1);
    ASSERT_TRUE(batch.gap);
    EXPECT_EQ(batch.gap->lines, 5U);
    EXPECT_EQ(batch.gap->records, 30U);
}

TEST_F(LogStoreTest, AnEndlessLineIsBoundByItsBytes) {
    make_budget(small_limits());
    auto store = make_store();
    Model model;
    for (int i = 0; i < 5000; ++i) {
        model.append(*store, StreamId::stdout_, std::to_string(i) + std::string(90, 'x'), "", true);
        run_task(loop_, store->flow());
    }
    EXPECT_EQ(store->lines(), 1U);
    EXPECT_GT(store->first_id(), 4000U);
    LogBatch batch = read(*store, 1);
    model.check(batch, 1);
    EXPECT_EQ(batch.gap->lines, 1U);
}

TEST_F(LogStoreTest, OneStoreStaysInItsBytesAndMemory) {
    make_budget(small_limits());
    auto store = make_store();
    Model model;
    std::size_t most_memory = 0;
    for (int i = 0; i < 3000; ++i) {
        model.line(*store, std::to_string(i) + std::string(200, 'x'));
        run_task(loop_, store->flow());
        most_memory = std::max(most_memory, store->memory_bytes());
        ASSERT_LE(model.size_from(store->first_id()), 64U << 10);
    }
    EXPECT_LE(most_memory, 9U << 10);
    EXPECT_GE(model.size_from(store->first_id()), 48U << 10);
    EXPECT_LE(budget_->disk_bytes(), (64U + 40) << 10);
    read_all(*store, model, 1, 10'000);
}

TEST_F(LogStoreTest, ARecordLargerThanAllBudgetsIsAGap) {
    make_budget(small_limits());
    auto store = make_store();
    Model model;
    model.line(*store, "before");
    model.line(*store, std::string(100 << 10, 'x'));
    EXPECT_EQ(store->first_id(), store->next_id());
    LogBatch batch = read(*store, 1);
    model.check(batch, 1);
    ASSERT_TRUE(batch.gap);
    EXPECT_EQ(batch.gap->bytes, 7U + (100U << 10) + 1U);
    EXPECT_EQ(batch.next_id, 3U);
    model.line(*store, "after");
    EXPECT_EQ(read_all(*store, model, 1, 1000), 3U);
}

TEST_F(LogStoreTest, LargeRecordsSpillAndComeBack) {
    make_budget({});
    auto store = make_store();
    Model model;
    for (int i = 0; i < 12; ++i) {
        model.line(*store, std::string((1 << 20) - static_cast<std::size_t>(i), static_cast<char>('a' + i)));
        run_task(loop_, store->flow());
        ASSERT_LE(store->memory_bytes(), 256U << 10);
    }
    EXPECT_EQ(read_all(*store, model, 1, 3 << 20), 1U);
}

TEST_F(LogStoreTest, SlowReadersAreToldExactlyWhatTheyMissed) {
    make_budget(small_limits());
    auto store = make_store();
    Model model;
    std::mt19937 random(11);
    std::vector<std::uint64_t> readers(6, 1);
    std::size_t gaps = 0;
    for (int round = 0; round < 400; ++round) {
        for (std::size_t i = random() % 60; i-- > 0;) {
            auto stream = static_cast<StreamId>(random() % 3);
            std::string text(random() % 300, static_cast<char>('a' + random() % 26));
            model.append(*store, stream, std::move(text), random() % 2 == 0 ? "\n" : "\r\n",
                         random() % 4 == 0);
        }
        if (round % 3 == 0) run_task(loop_, store->flow());
        // Reader i comes every 4^i rounds.
        std::size_t every = 1;
        for (std::uint64_t& from : readers) {
            if (static_cast<std::size_t>(round) % every == 0) {
                LogBatch batch = read(*store, from, random() % 20'000);
                model.check(batch, from);
                if (HasFatalFailure()) return;
                gaps += batch.gap ? 1U : 0U;
                from = batch.next_id;
            }
            every *= 4;
        }
    }
    EXPECT_GT(gaps, 3U);
}

TEST_F(LogStoreTest, AReaderFromADroppedIdGetsANearCount) {
    make_budget(small_limits());
    auto store = make_store();
    Model model;
    for (int i = 0; i < 50'000; ++i) model.line(*store, std::to_string(i));
    for (std::uint64_t from = 2; from < store->first_id(); from += 997) {
        LogBatch batch = read(*store, from);
        model.check(batch, from, false);
        LogGap expected = model.gap(from, batch.records.front().id);
        ASSERT_TRUE(batch.gap);
        EXPECT_EQ(batch.gap->lines, expected.lines);
        EXPECT_NEAR(static_cast<double>(batch.gap->bytes), static_cast<double>(expected.bytes), 16'000.0);
    }
}

// Random stores, appends, ends, reads and destructions against the model.
TEST_F(LogStoreTest, AgreesWithTheModel) {
    for (unsigned seed = 1; seed <= 12; ++seed) {
        std::mt19937 random(seed);
        LogLimits limits = small_limits();
        limits.store_lines = random() % 2 == 0 ? 50 : 100'000;
        limits.store_memory = 2000U << random() % 4;
        make_budget(limits);
        struct Entry {
            std::shared_ptr<LogStore> store;
            Model model;
            std::uint64_t reader = 1;
        };
        std::vector<Entry> entries;
        for (int step = 0; step < 3000; ++step) {
            if (entries.empty() || (entries.size() < 8 && random() % 100 == 0))
                entries.push_back({make_store(), {}, 1});
            Entry& entry = entries[random() % entries.size()];
            switch (random() % 16) {
                case 0: {
                    std::uint64_t from = random() % (entry.store->next_id() + 3);
                    LogBatch batch = read(*entry.store, from, random() % 30'000);
                    if (from < entry.store->next_id()) entry.model.check(batch, from, false);
                    break;
                }
                case 1: {
                    LogBatch batch = read(*entry.store, entry.reader, random() % 30'000);
                    entry.model.check(batch, entry.reader);
                    entry.reader = batch.next_id;
                    break;
                }
                case 2:
                    run_task(loop_, entry.store->flow());
                    break;
                case 3:
                    if (random() % 20 == 0) entry.store->mark_ended();
                    if (random() % 20 == 0) entry.store->close();
                    if (random() % 30 == 0) {
                        std::swap(entry, entries.back());
                        entries.pop_back();
                    }
                    break;
                case 4:
                case 5:
                    // Starts what there is to start, and leaves writes to the file under way.
                    loop_.restart();
                    loop_.poll();
                    break;
                default:
                    if (entry.store->closed()) break;
                    for (std::size_t i = random() % 40; i-- > 0;) {
                        std::size_t size = random() % 50 == 0 ? random() % 20'000 : random() % 100;
                        entry.model.append(*entry.store, static_cast<StreamId>(random() % 3),
                                           std::string(size, 'x'), random() % 3 == 0 ? "" : "\n",
                                           random() % 3 == 0);
                    }
                    ASSERT_GE(entry.store->first_id(), entry.model.first_of_last(limits.store_lines));
                    ASSERT_LE(entry.model.size_from(entry.store->first_id()), limits.store_bytes + 20'000);
            }
            if (HasFatalFailure()) return;
            ASSERT_LE(budget_->bytes(), limits.disk_budget);
        }
        for (Entry& entry : entries) {
            read_all(*entry.store, entry.model, entry.reader, 5'000);
            if (HasFatalFailure()) return;
        }
        entries.clear();
        run_loop(loop_);
        EXPECT_EQ(budget_->bytes(), 0U);
        EXPECT_EQ(budget_->memory_bytes(), 0U);
    }
}

TEST_F(LogStoreTest, ManyStoresStayInTheBudgetAndTheLongestEndedGoFirst) {
    LogLimits limits = small_limits();
    make_budget(limits);
    std::vector<std::shared_ptr<LogStore>> stores;
    std::vector<Model> models(20);
    for (std::size_t i = 0; i < 20; ++i) {
        stores.push_back(make_store());
        for (int line = 0; line < 300; ++line) {
            models[i].line(*stores[i], std::to_string(line) + std::string(100, 'x'));
            run_task(loop_, stores[i]->flow());
        }
        // Two go on running; the first of all to be made is the last to end.
        if (i != 0 && i != 5 && i != 6) stores[i]->close();
        ASSERT_LE(budget_->bytes(), limits.disk_budget);
    }
    stores[0]->close();
    run_loop(loop_);
    EXPECT_LE(budget_->disk_bytes(), limits.disk_budget + (64U << 10));
    // 35 KiB each: the running ones and the latest ended are whole, the first ended ones are gone.
    EXPECT_EQ(stores[5]->first_id(), 1U);
    EXPECT_EQ(stores[6]->first_id(), 1U);
    EXPECT_EQ(stores[0]->first_id(), 1U);
    EXPECT_EQ(stores[19]->first_id(), 1U);
    EXPECT_EQ(stores[1]->first_id(), stores[1]->next_id());
    EXPECT_EQ(stores[12]->first_id(), stores[12]->next_id());
    for (std::size_t i = 0; i < 20; ++i) read_all(*stores[i], models[i], 1, 100'000);
    // With the ended ones used up it is the largest running one that gives way.
    for (auto& store : stores) {
        if (store->closed()) store.reset();
    }
    auto large = make_store();
    Model model;
    for (int line = 0; line < 500; ++line) model.line(*large, std::string(100, 'x'));
    for (int i = 0; i < 30; ++i) {
        stores.push_back(make_store());
        for (int line = 0; line < 50; ++line)
            stores.back()->append(StreamId::stdout_, 0, std::string(100, 'y'), "\n", false);
    }
    run_loop(loop_);
    EXPECT_LE(budget_->bytes(), limits.disk_budget);
    EXPECT_GT(large->first_id(), 1U);
    EXPECT_EQ(stores.back()->first_id(), 1U);
}

TEST_F(LogStoreTest, AThousandEndedProcessesHoldLittleMemory) {
    make_budget({});
    std::vector<std::shared_ptr<LogStore>> stores;
    for (int i = 0; i < 1000; ++i) {
        stores.push_back(make_store());
        for (int line = 0; line < 200; ++line)
            stores.back()->append(StreamId::stdout_, 0, std::string(80, 'x'), "\n", false);
        stores.back()->close();
    }
    run_loop(loop_);
    EXPECT_LE(budget_->memory_bytes(), 2048U * 1000);
    EXPECT_EQ(stores.front()->first_id(), 1U);
    std::vector<std::shared_ptr<LogStore>> running;
    for (int i = 0; i < 1000; ++i) {
        running.push_back(make_store());
        for (int line = 0; line < 500; ++line) {
            running.back()->append(StreamId::stdout_, 0, std::string(80, 'x'), "\n", false);
            if (line % 50 == 0) run_task(loop_, running.back()->flow());
        }
    }
    EXPECT_LE(budget_->memory_bytes(), 2048U * 1000 + (24U << 20));
    EXPECT_LE(budget_->bytes(), 256U << 20);
}

Task<> follow(std::shared_ptr<LogStore> store, std::string* out, std::size_t* wakes) {
    std::uint64_t next = 1;
    for (;;) {
        LogBatch batch = co_await store->read(next, 10'000);
        for (const LogRecord& record : batch.records) *out += record.text + record.eol;
        if (batch.next_id != next) {
            next = batch.next_id;
            continue;
        }
        if (store->closed()) break;
        co_await store->changed().wait();
        ++*wakes;
    }
}

Task<> produce(Loop& loop, std::shared_ptr<LogStore> store, std::string* out, int lines) {
    for (int i = 0; i < lines; ++i) {
        std::string text = std::to_string(i);
        store->append(StreamId::stdout_, i, text, "\n", false);
        *out += text + "\n";
        if (i % 7 == 0) co_await store->flow();
        if (i % 100 == 0) co_await sleep_for(loop, std::chrono::milliseconds(0));
    }
    store->close();
}

TEST_F(LogStoreTest, FollowersSeeAllAndTheEnd) {
    make_budget({});
    auto store = make_store();
    std::string written;
    std::string seen[3];
    std::size_t wakes[3] = {};
    for (int i = 0; i < 3; ++i) spawn_task(loop_, "reader", follow(store, &seen[i], &wakes[i]));
    spawn_task(loop_, "writer", produce(loop_, store, &written, 9000));
    // The readers keep the store alive.
    std::weak_ptr<LogStore> weak = store;
    store.reset();
    run_loop(loop_);
    EXPECT_TRUE(weak.expired());
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(seen[i] == written);
        EXPECT_GT(wakes[i], 0U);
        EXPECT_LT(wakes[i], 1000U);  // notifications are coalesced
    }
}

Task<> read_into(std::shared_ptr<LogStore> store, std::uint64_t from, std::optional<LogBatch>* batch) {
    batch->emplace(co_await store->read(from, 1 << 20));
}

// Records that are evicted, and whose blocks would be overwritten, while a pool thread reads them.
TEST_F(LogStoreTest, EvictionDuringAReadOfTheFileDoesNotHarmIt) {
    make_budget(small_limits());
    for (int round = 0; round < 50; ++round) {
        auto store = make_store();
        Model model;
        for (int i = 0; i < 300; ++i) {
            model.line(*store, std::to_string(round) + ' ' + std::to_string(i) + std::string(100, 'x'));
        }
        run_loop(loop_);
        std::optional<LogBatch> batch;
        spawn_task(loop_, "reader", read_into(store, 1, &batch));
        loop_.restart();
        loop_.run_one();
        ASSERT_FALSE(batch);  // the read is with the pool
        std::uint64_t first = store->first_id();
        for (int i = 0; i < 1500; ++i) model.line(*store, std::string(150, 'y'));
        EXPECT_GT(store->first_id(), first + 500);
        if (round % 2 == 0) store.reset();
        run_loop(loop_);
        ASSERT_TRUE(batch);
        model.check(*batch, 1);
        if (HasFatalFailure()) return;
        EXPECT_FALSE(batch->records.empty());
        EXPECT_EQ(batch->records.front().id, first);
    }
}

TEST_F(LogStoreTest, EvictionDuringAWriteToTheFileDoesNotHarmIt) {
    for (int round = 0; round < 50; ++round) {
        make_budget(small_limits());
        auto store = make_store();
        Model model;
        for (int i = 0; i < 300; ++i) model.line(*store, std::to_string(i) + std::string(100, 'x'));
        loop_.restart();
        loop_.run_one();  // the first chunks are with the pool
        for (int i = 0; i < 1000; ++i) model.line(*store, std::string(150, 'y'));
        EXPECT_LE(store->memory_bytes(), 64U << 10);
        run_task(loop_, store->flow());
        EXPECT_LE(store->memory_bytes(), 8U << 10);
        read_all(*store, model, 1, 10'000);
        if (HasFatalFailure()) return;
        store->close();
        run_loop(loop_);
        // All but a crumb is on the disk, and nothing was counted twice.
        ASSERT_GE(budget_->disk_bytes() + 4096, budget_->bytes());
        ASSERT_LT(store->memory_bytes(), 2048U);
        ASSERT_EQ(budget_->memory_bytes(), store->memory_bytes());
        store.reset();
        ASSERT_EQ(budget_->bytes(), 0U);
    }
}

class LogStoreFullDiskTest : public LogStoreTest {
  protected:
    // Fills a store on a disk of `disk_bytes` and checks that it is whole as far as the budgets allow.
    void fill(SpillDir& dir, LogLimits limits, std::size_t least_kept, std::size_t most_memory) {
        budget_.emplace(loop_, pool_, dir, limits);
        auto store = make_store();
        Model model;
        for (int i = 0; i < 3000; ++i) {
            model.line(*store, std::to_string(i) + std::string(100, 'x'));
            run_task(loop_, store->flow());
            ASSERT_LE(budget_->memory_bytes(), most_memory);
        }
        EXPECT_GE(model.size_from(store->first_id()), least_kept);
        read_all(*store, model, 1, 10'000);
        store->close();
        run_loop(loop_);
        read_all(*store, model, 1, 10'000);
        std::weak_ptr<LogStore> weak = store;
        store.reset();
        EXPECT_TRUE(weak.expired());
        EXPECT_EQ(budget_->bytes(), 0U);
    }
};

TEST_F(LogStoreFullDiskTest, MemoryTakesOverWithinItsBudget) {
    std::optional<SpillDir> dir;
    test::TinyDisk disk(64 << 10, [&](const std::string& path) { dir.emplace(path, ""); });
    if (!disk.available()) GTEST_SKIP() << disk.why_not();
    LogLimits limits = small_limits();
    limits.store_bytes = 1 << 20;
    limits.store_lines = 100'000;
    limits.disk_retry = std::chrono::hours(1);
    // What the disk has is kept in use, so there is more than the memory budget.
    fill(*dir, limits, 60 << 10, (32 << 10) + (48 << 10));
}

TEST_F(LogStoreFullDiskTest, NoSpaceAtAll) {
    std::optional<SpillDir> dir;
    test::TinyDisk disk(4096, [&](const std::string& path) { dir.emplace(path, ""); });
    if (!disk.available()) GTEST_SKIP() << disk.why_not();
    LogLimits limits = small_limits();
    limits.store_lines = 100'000;
    limits.disk_retry = std::chrono::milliseconds(0);
    fill(*dir, limits, 16 << 10, 80 << 10);
}

TEST_F(LogStoreFullDiskTest, SpillsAgainWhenThereIsSpaceAgain) {
    std::optional<SpillDir> dir;
    UniqueFd filler;
    test::TinyDisk disk(1 << 20, [&](const std::string& path) {
        dir.emplace(path, "");
        filler.reset(::open(path.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
        ASSERT_EQ(::posix_fallocate(filler.get(), 0, 1 << 20), 0);
    });
    if (!disk.available()) GTEST_SKIP() << disk.why_not();
    LogLimits limits = small_limits();
    limits.disk_retry = std::chrono::milliseconds(0);
    budget_.emplace(loop_, pool_, *dir, limits);
    auto ended = make_store();
    Model model;
    for (int i = 0; i < 100; ++i) model.line(*ended, std::string(100, 'x'));
    ended->close();
    run_loop(loop_);
    EXPECT_GT(ended->memory_bytes(), 10'000U);
    ASSERT_EQ(::ftruncate(filler.get(), 0), 0);
    auto store = make_store();
    Model other;
    for (int i = 0; i < 200; ++i) other.line(*store, std::string(100, 'y'));
    run_loop(loop_);
    EXPECT_LT(ended->memory_bytes(), 2048U);
    EXPECT_EQ(read_all(*ended, model, 1, 5000), 1U);
    EXPECT_EQ(read_all(*store, other, 1, 5000), 1U);
}

TEST_F(LogStoreFullDiskTest, NoDisk) {
    std::optional<SpillDir> dir;
    test::TinyDisk disk(4096, [&](const std::string& path) {
        ASSERT_EQ(::chroot(path.c_str()), 0);
        ASSERT_EQ(::chdir("/"), 0);
        dir.emplace("", "");
    });
    if (!disk.available()) GTEST_SKIP() << disk.why_not();
    EXPECT_FALSE(dir->on_disk());
    LogLimits limits = small_limits();
    limits.store_lines = 100'000;
    fill(*dir, limits, 28 << 10, 32 << 10);
}

}  // namespace
}  // namespace sandbox
