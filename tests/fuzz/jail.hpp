#pragma once
// A thread of its own for targets that change files: its root is an empty file system in memory that nobody
// else sees and that ends with the process. Everything the thread starts (pools too) lives in there.

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <mutex>
#include <system_error>
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

    // Whatever an input has left. A thread of a pool may still be at work for a handler whose peer has gone,
    // and make a file where this removes a directory.
    static void clear() {
        for (int tries = 0; !try_to_clear(); ++tries) {
            FUZZ_CHECK(tries < 10'000);
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    }

  private:
    static bool try_to_clear() {
        std::error_code failure;
        std::error_code error;
        for (std::filesystem::directory_iterator it("/", failure), end; !failure && it != end;
             it.increment(failure)) {
            std::filesystem::remove_all(it->path(), error);
            if (error) return false;
        }
        return !failure;
    }
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
        // libFuzzer's, for the main thread: the threads of the daemon are not interrupted by signals either.
        sigset_t alarm;
        sigemptyset(&alarm);
        sigaddset(&alarm, SIGALRM);
        pthread_sigmask(SIG_BLOCK, &alarm, nullptr);
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
