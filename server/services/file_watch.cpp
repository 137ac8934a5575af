#include "services/file_watch.hpp"

#include <fcntl.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "platform/pipe.hpp"

namespace sandbox {

struct FileWatch::State {
    State(Loop& loop, BlockingPool& p, std::unique_ptr<WatchTree> t, UniqueFd fd)
        : pool(p), tree(std::move(t)), signal(loop, std::move(fd)), changed(loop) {}

    BlockingPool& pool;
    std::unique_ptr<WatchTree> tree;  // a pool thread's while `signal` is not waited for
    ReadEnd signal;                   // a duplicate, so that closing it takes nothing from the tree
    Event changed;
    std::vector<FileChange> pending;
    bool woken = false;
    bool closed = false;
};

FileWatch::FileWatch(std::shared_ptr<State> state) : state_(std::move(state)) {}

FileWatch::~FileWatch() {
    state_->closed = true;
    state_->signal.close();
    state_->changed.notify();
}

Task<Result<std::unique_ptr<FileWatch>>> FileWatch::start(Loop& loop, BlockingPool& pool, std::string path,
                                                          WatchOptions options) {
    auto job = [&] { return WatchTree::arm(path, options); };
    Result<std::unique_ptr<WatchTree>> tree = co_await pool.run(job);
    if (!tree) co_return tree.error();
    UniqueFd signal(::fcntl((*tree)->fd(), F_DUPFD_CLOEXEC, 3));
    if (!signal) co_return sys_error("watch " + path, errno);
    auto state = std::make_shared<State>(loop, pool, std::move(*tree), std::move(signal));
    spawn_task(loop, "file watch", run(state));
    co_return std::unique_ptr<FileWatch>(new FileWatch(std::move(state)));
}

Task<> FileWatch::run(std::shared_ptr<State> state) {
    while (!state->closed) {
        if (state->pending.size() >= kMaxPending) {
            co_await state->changed.wait();
            continue;
        }
        if (!co_await state->signal.readable()) break;
        auto job = [&state] { return state->tree->next_changes(); };
        std::vector<FileChange> changes = co_await state->pool.run(job);
        if (changes.empty()) continue;
        state->pending.insert(state->pending.end(), std::make_move_iterator(changes.begin()),
                              std::make_move_iterator(changes.end()));
        state->changed.notify();
    }
}

std::vector<FileChange> FileWatch::take() {
    std::vector<FileChange> changes = std::exchange(state_->pending, {});
    if (changes.size() >= kMaxPending) state_->changed.notify();
    return changes;
}

Task<bool> FileWatch::wait_for(std::chrono::milliseconds timeout) {
    std::shared_ptr<State> state = state_;
    if (state->pending.empty() && !state->woken) co_await state->changed.wait_for(timeout);
    bool something = !state->pending.empty() || state->woken;
    state->woken = false;
    co_return something;
}

void FileWatch::wake() {
    state_->woken = true;
    state_->changed.notify();
}

bool on_network_mount(const std::string& path) {
    struct statfs info {};
    if (::statfs(path.c_str(), &info) != 0) return false;
    // Magic numbers of statfs(2): NFS, SMB, CIFS, SMB2, FUSE.
    constexpr std::uint32_t kTypes[] = {0x6969, 0x517B, 0xFF534D42, 0xFE534D42, 0x65735546};
    auto type = static_cast<std::uint32_t>(info.f_type);
    return std::find(std::begin(kTypes), std::end(kTypes), type) != std::end(kTypes);
}

}  // namespace sandbox
