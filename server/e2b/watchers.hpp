#pragma once
// The watches under way: those that stream their events, and those of clients that poll (CreateWatcher,
// GetWatcherEvents, RemoveWatcher).

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "services/file_watch.hpp"

namespace sandbox::e2b {

// Loop thread.
struct Watchers {
    // A client whose connection breaks before it learns the id can remove nothing, so there is a bound: one
    // more ends the watch that has not been asked for the longest.
    static constexpr std::size_t kMaxPolled = 256;
    struct Polled {
        std::shared_ptr<FileWatch> watch;
        std::chrono::steady_clock::time_point asked;  // last
    };

    FileWatcher watcher;
    std::unordered_map<std::string, Polled> polled;
    std::unordered_set<FileWatch*> streamed;

    void add_polled(std::string id, std::shared_ptr<FileWatch> watch) {
        if (polled.size() >= kMaxPolled) {
            polled.erase(std::min_element(polled.begin(), polled.end(), [](const auto& a, const auto& b) {
                return a.second.asked < b.second.asked;
            }));
        }
        polled.emplace(std::move(id), Polled{std::move(watch), std::chrono::steady_clock::now()});
    }
    // So that the streams see that we are shutting down.
    void wake_streams() const {
        for (FileWatch* watch : streamed) watch->wake();
    }
};

}  // namespace sandbox::e2b
