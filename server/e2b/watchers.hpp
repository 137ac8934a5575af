#pragma once
// The watches under way: those that stream their events, and those of clients that poll (CreateWatcher,
// GetWatcherEvents, RemoveWatcher).

#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "services/file_watch.hpp"

namespace sandbox::e2b {

// Loop thread.
struct Watchers {
    FileWatcher watcher;
    std::unordered_map<std::string, std::shared_ptr<FileWatch>> polled;  // until they are removed
    std::unordered_set<FileWatch*> streamed;

    // So that the streams see that we are shutting down.
    void wake_streams() const {
        for (FileWatch* watch : streamed) watch->wake();
    }
};

}  // namespace sandbox::e2b
