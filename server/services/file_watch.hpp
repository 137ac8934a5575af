#pragma once
// Watching a directory for changes, by inotify(7).
//
// A watch is armed when start() returns: whatever changes after that is told. Directories that appear below a
// recursive watch are watched at once, and what is in them by then is told as created. When the kernel's
// queue overflows, the tree is scanned and compared with what was known of it, so that no change goes
// unnoticed, though its intermediate steps do. Files that this daemon puts in place in one step are told as
// written (and as created, when new); their staging names are not told.
//
// All watches of the daemon share one inotify instance.

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "platform/blocking_pool.hpp"
#include "platform/event.hpp"
#include "services/watch_tree.hpp"

namespace sandbox {

class Inotify;

// Loop thread; dropping it ends the watch.
class FileWatch {
  public:
    // Changes kept for take().
    static constexpr std::size_t kMaxPending = 10'000;
    // Bytes of events kept when there are so many changes; beyond that the directory is scanned again later.
    static constexpr std::size_t kMaxQueued = 256 * 1024;

    ~FileWatch();
    FileWatch(const FileWatch&) = delete;
    FileWatch& operator=(const FileWatch&) = delete;

    // What has changed since the last call, in order.
    std::vector<FileChange> take();
    // Suspends until there is something to take, or wake(). False when `timeout` passed first.
    Task<bool> wait_for(std::chrono::milliseconds timeout);
    // Suspends until take() has everything that had changed by now, or all that is kept for it; no longer
    // than `timeout`, because the file system may hang.
    Task<> catch_up(std::chrono::milliseconds timeout);
    // Ends a wait_for() under way, or the next one.
    void wake();

  private:
    friend class FileWatcher;
    struct State;
    explicit FileWatch(std::shared_ptr<State> state);
    static Task<> run(std::shared_ptr<State> state);
    std::shared_ptr<State> state_;
};

// Starts watches. Loop thread; `loop` and `pool` must outlive it and all its watches.
class FileWatcher {
  public:
    FileWatcher(Loop& loop, BlockingPool& pool) : loop_(loop), pool_(pool) {}

    // Errors as of WatchTree::arm(); resource_exhausted when there is no inotify instance to be had.
    Task<Result<std::unique_ptr<FileWatch>>> watch(std::string path, WatchOptions options);

  private:
    Loop& loop_;
    BlockingPool& pool_;
    std::weak_ptr<Inotify> inotify_;  // there as long as there are watches
};

// Whether a path is on NFS, SMB or FUSE, where changes made elsewhere are not told. Blocking.
bool on_network_mount(const std::string& path);

}  // namespace sandbox
