#pragma once
// Watching a directory for changes, by inotify(7).
//
// A watch is armed when start() returns: whatever changes after that is told. Directories that appear below a
// recursive watch are watched at once, and what is in them by then is told as created. When the kernel's
// queue overflows, the tree is scanned and compared with what was known of it, so that no change goes
// unnoticed, though its intermediate steps do. Files that this daemon puts in place in one step are told as
// written (and as created, when new); their staging names are not told.

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "platform/blocking_pool.hpp"
#include "platform/event.hpp"
#include "services/watch_tree.hpp"

namespace sandbox {

// Loop thread; dropping it ends the watch. `loop` and `pool` must outlive it.
class FileWatch {
  public:
    // Changes kept for take(); beyond that the kernel keeps them, until its queue overflows.
    static constexpr std::size_t kMaxPending = 10'000;

    // Errors as of WatchTree::arm().
    static Task<Result<std::unique_ptr<FileWatch>>> start(Loop& loop, BlockingPool& pool, std::string path,
                                                          WatchOptions options);
    ~FileWatch();
    FileWatch(const FileWatch&) = delete;
    FileWatch& operator=(const FileWatch&) = delete;

    // What has changed since the last call, in order.
    std::vector<FileChange> take();
    // Suspends until there is something to take, or wake(). False when `timeout` passed first.
    Task<bool> wait_for(std::chrono::milliseconds timeout);
    // Ends a wait_for() under way, or the next one.
    void wake();

  private:
    struct State;
    explicit FileWatch(std::shared_ptr<State> state);
    static Task<> run(std::shared_ptr<State> state);
    std::shared_ptr<State> state_;
};

// Whether a path is on NFS, SMB or FUSE, where changes made elsewhere are not told. Blocking.
bool on_network_mount(const std::string& path);

}  // namespace sandbox
