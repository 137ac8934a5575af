#include <cstdlib>
#include <memory>
#include <optional>

#include "cases.hpp"
#include "services/log_store.hpp"

namespace sandbox::bench {
namespace {

constexpr int kLines = 1000;

// Stores that stay in memory: what is measured is our code, not the disk.
struct Logs {
    Loop loop{1};
    BlockingPool pool{loop, "bench", 1, 1};
    SpillDir directory{"", ""};
    LogBudget budget{loop, pool, directory};
    std::shared_ptr<LogStore> store = std::make_shared<LogStore>(budget);
    const std::string line = std::string(79, 'a');

    void fill() {
        for (int i = 0; i < kLines; ++i)
            store->append(StreamId::stdout_, 1'795'000'000'000'000'000 + i, line, "\n", false);
    }
};

Task<> read_all(std::shared_ptr<LogStore> store) {
    std::uint64_t next = store->first_id();
    while (next < store->next_id()) {
        LogBatch batch = co_await store->read(next, kBlock);
        next = batch.next_id;
    }
}

Case append() {
    return {"log_store/append", kLines * std::size_t{80}, [] {
                auto logs = std::make_shared<Logs>();
                return [logs] {
                    logs->store = std::make_shared<LogStore>(logs->budget);
                    logs->fill();
                };
            }};
}

Case read() {
    return {"log_store/read", kLines * std::size_t{80}, [] {
                auto logs = std::make_shared<Logs>();
                logs->fill();
                return [logs] {
                    spawn_task(logs->loop, "bench", read_all(logs->store));
                    logs->loop.restart();
                    logs->loop.run();
                };
            }};
}

}  // namespace

std::vector<Case> service_cases() { return {append(), read()}; }

}  // namespace sandbox::bench
