#include "platform/reaper.hpp"

#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <new>
#include <utility>

#include "base/log.hpp"

namespace sandbox {
namespace {

// A sweep walks over all children, 15 to 180 ns each. With this many it is put off: shortly while sweeps find
// ends that no signal told, else so that they take a hundredth of the time.
constexpr std::size_t kManyChildren = 256;
constexpr int kShare = 100;
constexpr std::chrono::milliseconds kLeastPutOff{5};
constexpr std::chrono::milliseconds kMostPutOff{50};

}  // namespace

void Reaper::begin_spawn() {
    // A child that could not be entered would be nobody's.
    const std::size_t children = watched_.size() + spawning_ + 1;
    if (children > watched_.bucket_count()) watched_.reserve(2 * children);
    ++spawning_;
}

void Reaper::end_failed_spawn() { spawn_ended(); }

void Reaper::watch(pid_t pid, OnExit on_exit) {
    auto found = unclaimed_.find(pid);
    if (found != unclaimed_.end()) {
        // An orphan may have died with this number before our child got it. If a child of this number exists
        // now, it is ours and the record was the orphan's.
        siginfo_t info{};
        bool exists = ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0;
        ExitRecord record = found->second;
        unclaimed_.erase(found);
        if (!exists) {
            spawn_ended();
            on_exit(record);
            return;
        }
        ++orphans_;
    }
    watched_.emplace(pid, std::move(on_exit));
    spawn_ended();
}

void Reaper::look_at(pid_t pid) {
    if (pid > 0) reap(pid);  // Others stand for several children.
}

void Reaper::child_ended(pid_t pid) {
    look_at(pid);
    if (watched_.size() < kManyChildren) {
        sweep();
    } else if (!sweep_is_due_) {
        sweep_is_due_ = true;
        const auto share = std::chrono::ceil<std::chrono::milliseconds>(kShare * last_walk_);
        const auto put_off = found_some_ ? kLeastPutOff : std::clamp(share, kLeastPutOff, kMostPutOff);
        due_.start(put_off, [this] { sweep(); });
    }
}

void Reaper::sweep() {
    if (sweep_is_due_) due_.cancel();
    sweep_is_due_ = false;
    using Clock = std::chrono::steady_clock;
    Clock::time_point begin = Clock::now();
    found_some_ = false;
    while (reap(-1)) {
        found_some_ = true;
        begin = Clock::now();
    }
    // The last one found nothing, so it went over all.
    last_walk_ = Clock::now() - begin;
}

// `which` as for waitpid(2). False: none of these has ended.
bool Reaper::reap(pid_t which) {
    int status = 0;
    rusage usage{};
    pid_t pid;
    do {
        pid = ::wait4(which, &status, WNOHANG, &usage);
    } while (pid < 0 && errno == EINTR);
    if (pid <= 0) return false;
    ExitRecord record{ExitStatus(status), usage};
    auto found = watched_.find(pid);
    if (found != watched_.end()) {
        OnExit on_exit = std::move(found->second);
        watched_.erase(found);
        try {
            on_exit(record);
        } catch (const std::bad_alloc& error) {  // Others have ended, too.
            log::error("end of a child lost", {{"pid", pid}, {"error", error.what()}});
        }
    } else if (spawning_ > 0) {
        // Of two with one number the later one may be the spawned child; the earlier one was an orphan.
        if (!unclaimed_.insert_or_assign(pid, record).second) ++orphans_;
    } else {
        ++orphans_;
    }
    return true;
}

void Reaper::spawn_ended() {
    if (--spawning_ > 0) return;
    orphans_ += unclaimed_.size();
    unclaimed_.clear();
}

}  // namespace sandbox
