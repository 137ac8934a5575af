#pragma once
// The blocking half of watching a directory: inotify(7) instances, scans, and what is known of the tree. See
// file_watch.hpp for what watches report.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "services/filesystem.hpp"

struct inotify_event;

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
    // Errors: "open <p>: …" (not_found, not a directory), resource_exhausted when the kernel gives no more
    // watches.
    static Result<std::unique_ptr<WatchTree>> arm(const std::string& path, const WatchOptions& options);

    // Readable when there is something for next_changes(). Borrowed.
    int fd() const { return inotify_.get(); }

    // What the kernel has to tell now; empty when that is nothing. After an overflow of its queue, the
    // differences between what was known and what is there.
    std::vector<FileChange> next_changes();

  private:
    // What is compared after an overflow.
    struct Known {
        std::uint64_t inode = 0;
        std::int64_t modified = 0;
        std::int64_t changed = 0;
        std::uint64_t size = 0;
        bool directory = false;
        bool found_by_scan = false;  // its creation has been told; an event for it may still come
    };
    using Snapshot = std::map<std::string, Known>;  // by name, as in FileChange

    WatchTree(std::string path, WatchOptions options) : path_(std::move(path)), options_(options) {}

    Result<> watch(const std::string& name);
    // Watches what is below the directory `name` ("" for the top) and adds it to the snapshot; with `changes`
    // it is told as created.
    void scan(const std::string& name, std::vector<FileChange>* changes);
    void rescan(std::vector<FileChange>& changes);
    void on_event(const inotify_event& event, std::vector<FileChange>& changes);
    void on_created(const std::string& name, const inotify_event& event, std::vector<FileChange>& changes);
    void forget(const std::string& name);
    void add(std::vector<FileChange>& changes, ChangeKind kind, const std::string& name);
    std::string full_path(const std::string& name) const;
    std::optional<Known> look(const std::string& name) const;

    const std::string path_;
    const WatchOptions options_;
    UniqueFd inotify_;
    std::unordered_map<int, std::string> directories_;  // by watch descriptor; "" is the top
    std::map<std::string, int> watches_;
    Snapshot known_;
    std::set<std::uint32_t> staged_moves_;  // cookies of renames that began at a staging name
};

}  // namespace sandbox
