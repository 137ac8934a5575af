#include "services/inotify.hpp"

#include <fcntl.h>
#include <sys/inotify.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <string>

namespace sandbox {
namespace {

// As much as the kernel's queue holds (16384 events of up to 272 bytes): more is for the next turn of the
// loop.
constexpr int kMostReads = 64;

}  // namespace

Result<std::shared_ptr<Inotify>> Inotify::open(Loop& loop) {
    UniqueFd kernel(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!kernel) {
        Error error = sys_error("inotify_init", errno);
        error.code = Errc::resource_exhausted;
        return error;
    }
    UniqueFd signal(::fcntl(kernel.get(), F_DUPFD_CLOEXEC, 3));
    if (!signal) return sys_error("inotify_init", errno);
    std::shared_ptr<Inotify> made(new Inotify(loop, std::move(kernel), std::move(signal)));
    spawn_task(loop, "inotify", run(made, made->signal_));
    return made;
}

Inotify::Inotify(Loop& loop, UniqueFd kernel, UniqueFd signal)
    : kernel_(std::move(kernel)), signal_(std::make_shared<ReadEnd>(loop, std::move(signal))) {}

Inotify::~Inotify() { signal_->close(); }

Task<> Inotify::run(std::weak_ptr<Inotify> weak, std::shared_ptr<ReadEnd> signal) {
    while (co_await signal->readable()) {
        std::shared_ptr<Inotify> self = weak.lock();
        if (!self) break;
        self->read_now();
    }
}

void Inotify::read_now() {
    std::shared_ptr<Inotify> self = shared_from_this();
    alignas(inotify_event) std::array<char, 64 * 1024> buffer;
    for (int i = 0; i < kMostReads; ++i) {
        long count = signal_->read_now(buffer);
        if (count <= 0) return;
        try {
            hand_out(std::string_view(buffer.data(), static_cast<std::size_t>(count)));
        } catch (const std::bad_alloc&) {  // As when the kernel's queue is full.
            tell_loss();
        }
    }
}

void Inotify::hand_out(std::string_view events) {
    std::map<Listener*, std::string> told;
    bool loss = false;
    while (!events.empty()) {
        const auto* event = reinterpret_cast<const inotify_event*>(events.data());
        std::string_view whole = events.substr(0, sizeof(inotify_event) + event->len);
        events.remove_prefix(whole.size());
        if ((event->mask & IN_Q_OVERFLOW) != 0) {
            loss = true;
            continue;
        }
        auto held = holders_.find(event->wd);
        if (held != holders_.end()) {
            for (Listener* listener : held->second) told[listener] += whole;
        }
        for (const auto& [listener, since] : jobs_) {
            if (held == holders_.end() || !held->second.contains(listener)) told[listener] += whole;
        }
        // The kernel has taken the watch away, with the directory.
        if (held != holders_.end() && (event->mask & IN_IGNORED) != 0) holders_.erase(held);
    }
    for (const auto& [listener, text] : told) listener->on_events(text);
    if (loss) tell_loss();
}

// Some more than once, which does no harm.
void Inotify::tell_loss() {
    for (const auto& [descriptor, listeners] : holders_) {
        for (Listener* listener : listeners) listener->on_loss();
    }
    for (const auto& [listener, since] : jobs_) listener->on_loss();
}

void Inotify::begin_job(Listener& listener) { jobs_[&listener] = removed_.size(); }

void Inotify::end_job(Listener& listener, const std::vector<int>& added, const std::vector<int>& released) {
    const std::size_t since = jobs_.at(&listener);
    jobs_.erase(&listener);
    bool lost = false;
    for (int descriptor : added) {
        // Somebody else gave it up meanwhile, and with it what the job had just got.
        if (std::find(removed_.begin() + static_cast<std::ptrdiff_t>(since), removed_.end(), descriptor) !=
            removed_.end()) {
            lost = true;
        } else {
            holders_[descriptor].insert(&listener);
        }
    }
    for (int descriptor : released) release(listener, descriptor);
    if (jobs_.empty()) removed_.clear();
    if (lost) listener.on_loss();
}

void Inotify::release(Listener& listener, int descriptor) {
    auto held = holders_.find(descriptor);
    if (held == holders_.end() || held->second.erase(&listener) == 0 || !held->second.empty()) return;
    holders_.erase(held);
    ::inotify_rm_watch(kernel_.get(), descriptor);
    if (!jobs_.empty()) removed_.push_back(descriptor);
}

void Inotify::remove(Listener& listener) {
    jobs_.erase(&listener);
    for (auto held = holders_.begin(); held != holders_.end();) {
        const int descriptor = held->first;
        ++held;  // release() may take it away.
        try {
            release(listener, descriptor);
        } catch (const std::bad_alloc&) {  // Jobs under way cannot be told which it was.
            for (const auto& [other, since] : jobs_) other->on_loss();
        }
    }
}

}  // namespace sandbox
