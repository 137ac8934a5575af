#include "services/file_watch.hpp"

#include <sys/vfs.h>

#include <algorithm>
#include <iterator>
#include <new>
#include <utility>

#include "services/inotify.hpp"

namespace sandbox {

struct FileWatch::State final : Inotify::Listener {
    State(Loop& loop, BlockingPool& p, std::shared_ptr<Inotify> i, std::string at)
        : pool(p), inotify(std::move(i)), path(std::move(at)), work(loop), changed(loop) {}
    ~State() override { inotify->remove(*this); }

    void on_events(std::string_view events) override {
        // After a loss the scan will see what these tell.
        if (queued.size() + events.size() > kMaxQueued) loss = true;
        if (!loss) queued += events;
        work.notify();
    }
    void on_loss() override {
        loss = true;
        work.notify();
    }
    bool has_room() const { return pending.size() < kMaxPending; }
    bool has_work() const { return !queued.empty() || loss; }

    BlockingPool& pool;
    std::shared_ptr<Inotify> inotify;
    const std::string path;
    std::unique_ptr<WatchTree> tree;  // a pool thread's while `busy`
    std::string queued;               // inotify_events that the tree has not seen
    bool loss = false;
    bool busy = false;
    Event work;
    std::vector<FileChange> pending;
    Event changed;
    bool woken = false;
    bool closed = false;
};

FileWatch::FileWatch(std::shared_ptr<State> state) : state_(std::move(state)) {}

FileWatch::~FileWatch() {
    state_->closed = true;
    state_->work.notify();
    state_->changed.notify();
}

Task<Result<std::unique_ptr<FileWatch>>> FileWatcher::watch(std::string path, WatchOptions options) {
    std::shared_ptr<Inotify> inotify = inotify_.lock();
    if (!inotify) {
        Result<std::shared_ptr<Inotify>> opened = Inotify::open(loop_);
        if (!opened) co_return opened.error();
        inotify = std::move(*opened);
        inotify_ = inotify;
    }
    auto state = std::make_shared<FileWatch::State>(loop_, pool_, inotify, path);
    inotify->begin_job(*state);
    auto job = [&] { return WatchTree::arm(inotify->fd(), path, options); };
    Result<std::unique_ptr<WatchTree>> tree = co_await pool_.run_on(path, job);
    std::vector<int> added;
    if (tree) added = (*tree)->take_added();
    inotify->end_job(*state, added, std::vector<int>());
    if (!tree) co_return tree.error();
    state->tree = std::move(*tree);
    spawn_task(loop_, "file watch", FileWatch::run(state));
    co_return std::unique_ptr<FileWatch>(new FileWatch(std::move(state)));
}

Task<> FileWatch::run(std::shared_ptr<State> state) {
    while (!state->closed) {
        if (!state->has_work() || !state->has_room()) {
            co_await state->work.wait();
            continue;
        }
        std::string events = std::exchange(state->queued, {});
        const bool loss = std::exchange(state->loss, false);
        state->busy = true;
        state->inotify->begin_job(*state);
        auto job = [&] { return state->tree->changes(events, loss); };
        std::vector<FileChange> changes;
        try {
            changes = co_await state->pool.run_on(state->path, job);
        } catch (const std::bad_alloc&) {  // A scan will see what these told.
            state->loss = true;
        }
        state->inotify->end_job(*state, state->tree->take_added(), state->tree->take_released());
        state->busy = false;
        state->pending.insert(state->pending.end(), std::make_move_iterator(changes.begin()),
                              std::make_move_iterator(changes.end()));
        state->changed.notify();
    }
}

std::vector<FileChange> FileWatch::take() {
    std::vector<FileChange> changes = std::exchange(state_->pending, {});
    state_->work.notify();
    return changes;
}

Task<bool> FileWatch::wait_for(std::chrono::milliseconds timeout) {
    std::shared_ptr<State> state = state_;
    const auto until = std::chrono::steady_clock::now() + timeout;
    while (state->pending.empty() && !state->woken) {
        auto rest = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
        if (rest.count() <= 0 || !co_await state->changed.wait_for(rest)) break;
    }
    bool something = !state->pending.empty() || state->woken;
    state->woken = false;
    co_return something;
}

Task<> FileWatch::catch_up(std::chrono::milliseconds timeout) {
    std::shared_ptr<State> state = state_;
    const auto until = std::chrono::steady_clock::now() + timeout;
    state->inotify->read_now();
    while (!state->closed && state->has_room() && (state->busy || state->has_work())) {
        auto rest = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
        if (rest.count() <= 0 || !co_await state->changed.wait_for(rest)) break;
    }
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
