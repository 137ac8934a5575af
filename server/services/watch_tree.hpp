#pragma once
// The blocking half of watching a directory: adding watches, scans, and what is known of the tree. See
// file_watch.hpp for what watches report.

#include <sys/inotify.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "services/filesystem.hpp"

namespace sandbox {

enum class ChangeKind : std::uint8_t { create = 1, write, remove, rename, chmod };

struct FileChange {
    ChangeKind kind = ChangeKind::create;
    std::string name;                   // relative to the watched directory; "." for itself
    std::optional<files::Entry> entry;  // as it is now, when asked for and still there
};

struct WatchOptions {
    bool recursive = false;
    bool entries = false;  // fill in FileChange::entry of create, write and chmod
};

// One pool thread at a time.
class WatchTree {
  public:
    // Adds watches to the inotify instance, which must outlive the tree. Errors: "open <p>: …" (not_found,
    // not a directory), resource_exhausted when the kernel gives no more watches.
    static Result<std::unique_ptr<WatchTree>> arm(int inotify, const std::string& path,
                                                  const WatchOptions& options);

    // What inotify_events mean, those of foreign watches left out; with `loss` also the differences between
    // what is known after them and what is there.
    std::vector<FileChange> changes(std::string_view events, bool loss);

    // Watch descriptors that were added, or are not wanted any more, since the last call.
    std::vector<int> take_added() { return std::exchange(added_, {}); }
    std::vector<int> take_released() { return std::exchange(released_, {}); }

  private:
    // What is compared after an overflow.
    struct Known {
        std::uint64_t inode = 0;
        std::int64_t modified = 0;
        std::int64_t changed = 0;
        std::uint64_t size = 0;
        bool directory = false;
        bool only_name = false;      // a regular file with no other name
        bool found_by_scan = false;  // its creation has been told; an event for it may still come
    };
    using Snapshot = std::map<std::string, Known>;  // by name, as in FileChange

    WatchTree(int inotify, std::string path, WatchOptions options)
        : inotify_(inotify), path_(std::move(path)), options_(options) {}

    Result<> watch(const std::string& name);
    // Watches what is below the directory `name` ("" for the top) and adds it to the snapshot; with `changes`
    // it is told as created.
    void scan(const std::string& name, std::vector<FileChange>* changes);
    void rescan(std::vector<FileChange>& changes);
    void on_event(const inotify_event& event, std::vector<FileChange>& changes);
    void on_created(const std::string& name, const inotify_event& event, std::vector<FileChange>& changes);
    void forget(const std::string& name);
    // Gives up the watch of the directory at `at`; the next one.
    std::map<std::string, int>::iterator unwatch(std::map<std::string, int>::iterator at);
    void add(std::vector<FileChange>& changes, ChangeKind kind, const std::string& name);
    std::string full_path(const std::string& name) const;
    std::optional<Known> look(const std::string& name) const;

    const int inotify_;
    const std::string path_;
    const WatchOptions options_;
    std::vector<int> added_;
    std::vector<int> released_;
    bool top_is_gone_ = false;
    std::unordered_map<int, std::string> directories_;  // by watch descriptor; "" is the top
    std::map<std::string, int> watches_;
    Snapshot known_;
    std::set<std::uint32_t> staged_moves_;  // cookies of renames that began at a staging name
};

}  // namespace sandbox
