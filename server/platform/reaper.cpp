#include "platform/reaper.hpp"

#include <sys/wait.h>

#include <cerrno>
#include <new>
#include <utility>

#include "base/log.hpp"

namespace sandbox {
namespace {

// A sweep costs some 15 ns a child. From this many on it costs more than a timer does.
constexpr std::size_t kManyChildren = 256;
constexpr std::chrono::milliseconds kPutOff{5};

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
        due_.start(kPutOff, [this] { sweep(); });
    }
}

void Reaper::sweep() {
    if (sweep_is_due_) due_.cancel();
    sweep_is_due_ = false;
    while (reap(-1)) {
    }
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
