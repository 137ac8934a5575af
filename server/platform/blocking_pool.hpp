#pragma once
// Threads for calls that can block: files, directory walks, spawning, scans of /proc.
//
// Elastic: `reserved` threads are started at once, so that the pool works even when no thread can be made any
// more (a fork bomb beside us); up to `cap` come and go with the load.
//
// Fair: a call into a hung file system keeps its thread for good. So once an eighth of the threads is busy,
// work that comes with paths runs only while the file systems it leads through have fewer threads than are
// still free. One that hangs gets half of them, the next one half of the rest; the first thread is never
// refused. What has to wait for a thread of its file system waits aside and holds up nobody.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "platform/loop.hpp"

namespace sandbox {

class BlockingPool {
  public:
    // `name` shows in thread lists. Signals must be blocked in the calling thread; the workers inherit that.
    // Throws std::system_error when the reserved threads cannot be had: without one, work would wait for
    // ever.
    BlockingPool(Loop& loop, std::string name, std::size_t reserved, std::size_t cap);
    // Abandons queued work and leaves behind threads that are stuck; the daemon is about to exit.
    ~BlockingPool();
    BlockingPool(const BlockingPool&) = delete;
    BlockingPool& operator=(const BlockingPool&) = delete;

    // Runs `work()` on a pool thread, then resumes the caller on the loop with what it returned. `work` must
    // not touch state of the loop thread. It cannot be cancelled; an exception from it comes out here.
    template <class F>
    auto run(F work) {
        return run_on(std::vector<std::string>(), std::move(work));
    }

    // The same for work on files: `paths` are those whose file systems it may hang on.
    template <class F>
    auto run_on(std::vector<std::string> paths, F work) -> Task<std::invoke_result_t<F&>> {
        using T = std::invoke_result_t<F&>;
        if constexpr (std::is_void_v<T>) {
            std::function<void()> job = [&work] { work(); };
            co_await run_erased(&job, std::move(paths));
        } else {
            std::optional<T> result;
            std::function<void()> job = [&work, &result] { result.emplace(work()); };
            co_await run_erased(&job, std::move(paths));
            co_return std::move(*result);
        }
    }

    template <class F>
    auto run_on(std::string path, F work) {
        std::vector<std::string> paths;
        paths.push_back(std::move(path));
        return run_on(std::move(paths), std::move(work));
    }

    // Fire and forget: nothing waits for it, and an exception from it is logged.
    void post(std::function<void()> work);

    std::size_t threads() const;
    std::size_t queued() const;  // also what waits for a thread of its file system

  private:
    struct Impl;
    Task<> run_erased(std::function<void()>* job, std::vector<std::string> paths);
    std::shared_ptr<Impl> impl_;
};

}  // namespace sandbox
