#pragma once
// A thread of its own for targets that change files: its root is an empty file system in memory that nobody
// else sees and that ends with the process. Everything the thread starts (pools too) lives in there.

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <mutex>
#include <thread>

#include "base/unique_fd.hpp"
#include "fuzz/fuzz_input.hpp"

namespace sandbox::fuzz {

// Moves the calling thread, and those that it starts from now on, into an empty root directory; free() and
// lock() go between the two. Ends the program with 66, which ctest takes for skipped, where that is not
// allowed.
class Jail {
  public:
    Jail() : outside_(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
        const bool made = ::unshare(CLONE_FS | CLONE_NEWNS) == 0 &&
                          ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                          ::mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=64m") == 0;
        if (!made) {
            std::fprintf(stderr, "needs the right to mount (CAP_SYS_ADMIN)\n");
            std::_Exit(66);
        }
        inside_ = UniqueFd(::open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        lock();
    }
    void free() const { enter(outside_); }
    void lock() const { enter(inside_); }

    // Whatever an input has left.
    static void clear() {
        for (const auto& entry : std::filesystem::directory_iterator("/")) {
            std::filesystem::remove_all(entry.path());
        }
    }

  private:
    static void enter(const UniqueFd& root) { FUZZ_CHECK(::fchdir(root.get()) == 0 && ::chroot(".") == 0); }
    UniqueFd outside_;
    UniqueFd inside_;
};

// Runs a target, a class made on the thread with the jail as its argument, for one input after the other. The
// main thread stays outside: libFuzzer writes what it finds.
template <class Target>
class Inmate {
  public:
    Inmate() : thread_([this] { live(); }) { thread_.detach(); }
    void run(const Input& input) {
        std::unique_lock lock(mutex_);
        input_ = &input;
        changed_.notify_all();
        changed_.wait(lock, [this] { return input_ == nullptr; });
    }

  private:
    void live() {
        Jail jail;
        Target target(jail);
        std::unique_lock lock(mutex_);
        for (;;) {
            changed_.wait(lock, [this] { return input_ != nullptr; });
            target.run(*input_);
            input_ = nullptr;
            changed_.notify_all();
        }
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    const Input* input_ = nullptr;
    std::thread thread_;
};

// One input, on the one thread that is kept for the target.
template <class Target>
void run_in_jail(const Input& input) {
    static auto* inmate = new Inmate<Target>();
    inmate->run(input);
}

}  // namespace sandbox::fuzz
