#include "platform/blocking_pool.hpp"

#include <pthread.h>

#include <algorithm>
#include <boost/asio/async_result.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <exception>
#include <list>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/log.hpp"
#include "platform/mounts.hpp"

namespace sandbox {

namespace asio = boost::asio;

struct BlockingPool::Impl {
    struct Job {
        std::function<void()> work;
        std::vector<std::string> paths;         // not looked at yet
        std::vector<std::string> file_systems;  // that it is counted for
    };

    Loop& loop;
    const std::string name;
    const std::size_t reserved;
    const std::size_t cap;
    std::mutex mutex;
    std::condition_variable wake;
    std::list<Job> queue;  // not a deque: what grows in small steps needs no large allocation
    std::size_t count = 0;
    std::size_t idle = 0;
    std::size_t busy = 0;
    Mounts mounts;
    std::map<std::string, std::size_t> users;      // threads by file system, as far as they were looked at
    std::map<std::string, std::deque<Job>> aside;  // waiting for a thread of their file system
    bool stopping = false;

    Impl(Loop& l, std::string n, std::size_t r, std::size_t c)
        : loop(l), name(std::move(n)), reserved(r), cap(c) {}

    void submit(const std::shared_ptr<Impl>& self, Job job) {
        std::unique_lock lock(mutex);
        queue.push_back(std::move(job));
        if (idle >= queue.size() || count >= cap) {
            lock.unlock();
            wake.notify_one();
            return;
        }
        ++count;
        lock.unlock();
        if (!start_thread(self)) {
            lock.lock();
            --count;  // The threads there are will get to it.
            lock.unlock();
            wake.notify_one();
        }
    }

    // False when the system has no thread to give (EAGAIN under a PID limit).
    static bool start_thread(const std::shared_ptr<Impl>& self) {
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attributes, 512 * 1024);
        auto* argument = new std::shared_ptr<Impl>(self);
        pthread_t thread;
        int failed = pthread_create(&thread, &attributes, &Impl::thread_main, argument);
        pthread_attr_destroy(&attributes);
        if (failed != 0) {
            delete argument;
            return false;
        }
        return true;
    }

    static void* thread_main(void* argument) {
        std::unique_ptr<std::shared_ptr<Impl>> holder(static_cast<std::shared_ptr<Impl>*>(argument));
        // The thread itself, for it takes one call instead of three in /proc.
        pthread_setname_np(pthread_self(), (*holder)->name.substr(0, 15).c_str());
        (*holder)->work();
        return nullptr;
    }

    // ---- fairness between file systems

    // The mutex is held. `more`: threads that are as good as taken. The first thread is nobody's to refuse.
    bool has_room(const std::string& file_system, std::size_t more) const {
        auto found = users.find(file_system);
        return found == users.end() || found->second + busy + more < cap;
    }

    // Counts the job for the file systems that its paths lead through. One of them when it has no room: then
    // the job has to wait.
    std::optional<std::string> admit(Job& job) {
        if (job.paths.empty()) return std::nullopt;
        {
            std::lock_guard lock(mutex);
            if (busy <= cap / 8) return std::nullopt;
        }
        std::optional<std::string> full;
        for (const std::string& path : job.paths) {
            bool first = true;
            auto enter = [&](const std::string& file_system) {
                std::lock_guard lock(mutex);
                // What it holds itself does not stand in its own way.
                const bool counted = std::find(job.file_systems.begin(), job.file_systems.end(),
                                               file_system) != job.file_systems.end();
                if (!counted && !has_room(file_system, 0)) {
                    full = file_system;
                    return false;
                }
                if (first) job.file_systems.emplace_back();
                std::string& present = job.file_systems.back();
                if (!first) leave(present);
                first = false;
                present = file_system;
                ++users[present];
                return true;
            };
            if (!mounts.walk(path, enter)) break;
        }
        return full;
    }

    void leave(const std::string& file_system) {
        auto found = users.find(file_system);
        if (--found->second == 0) users.erase(found);
    }
    void leave(Job& job) {
        for (const std::string& file_system : job.file_systems) leave(file_system);
        job.file_systems.clear();
    }

    // After a thread has become free. The mutex is held.
    void take_from_aside() {
        for (auto at = aside.begin(); at != aside.end();) {
            bool first = !users.contains(at->first);
            while (!at->second.empty() && has_room(at->first, queue.size() + 1)) {
                queue.push_back(std::move(at->second.front()));
                at->second.pop_front();
                wake.notify_one();
                if (first) break;  // The next one when this one is counted.
            }
            at = at->second.empty() ? aside.erase(at) : std::next(at);
        }
    }

    void work() {
        std::unique_lock lock(mutex);
        for (;;) {
            ++idle;
            bool have_work =
                wake.wait_for(lock, std::chrono::seconds(10), [&] { return stopping || !queue.empty(); });
            --idle;
            if (stopping || (!have_work && count > reserved)) break;
            if (queue.empty()) continue;
            Job job = std::move(queue.front());
            queue.pop_front();
            ++busy;
            lock.unlock();
            std::optional<std::string> full;
            try {
                full = admit(job);
            } catch (const std::bad_alloc&) {  // Then without looking where it leads.
            }
            if (!full) {
                job.work();
                job.work = nullptr;
            }
            lock.lock();
            --busy;
            leave(job);
            if (full) aside[*full].push_back(std::move(job));
            take_from_aside();
        }
        --count;
        if (stopping && count == 0) wake.notify_all();
    }
};

BlockingPool::BlockingPool(Loop& loop, std::string name, std::size_t reserved, std::size_t cap)
    : impl_(std::make_shared<Impl>(loop, std::move(name), reserved, cap)) {
    impl_->count = reserved;
    for (std::size_t i = 0; i < reserved; ++i) {
        if (!Impl::start_thread(impl_)) {
            std::lock_guard lock(impl_->mutex);
            impl_->stopping = true;
            impl_->wake.notify_all();
            throw std::system_error(EAGAIN, std::generic_category(), "start a thread");
        }
    }
}

BlockingPool::~BlockingPool() {
    std::unique_lock lock(impl_->mutex);
    impl_->stopping = true;
    impl_->queue.clear();
    impl_->aside.clear();
    impl_->wake.notify_all();
    // Threads own a share of Impl, so one that is stuck in a call can be left behind.
    impl_->wake.wait_for(lock, std::chrono::milliseconds(200), [&] { return impl_->count == 0; });
}

Task<> BlockingPool::run_erased(std::function<void()>* job, std::vector<std::string> paths) {
    std::exception_ptr failure;
    auto initiate = [this, job, &failure, &paths](auto handler) {
        auto guard = asio::make_work_guard(impl_->loop);
        // std::function wants copyable targets and a completion handler is move-only.
        auto shared = std::make_shared<decltype(handler)>(std::move(handler));
        auto work = [job, &failure, shared, guard, loop = &impl_->loop]() mutable {
            try {
                (*job)();
            } catch (...) {
                failure = std::current_exception();
            }
            asio::post(*loop, [shared = std::move(shared), guard] { std::move (*shared)(); });
        };
        impl_->submit(impl_, {std::move(work), std::move(paths), {}});
    };
    co_await asio::async_initiate<const asio::use_awaitable_t<Executor>, void()>(initiate, use_task);
    if (failure) std::rethrow_exception(failure);
}

void BlockingPool::post(std::function<void()> work) {
    auto quiet = [work = std::move(work)] {
        try {
            work();
        } catch (const std::exception& e) {
            log::error("background work failed", {{"error", e.what()}});
        }
    };
    impl_->submit(impl_, {std::move(quiet), {}, {}});
}

std::size_t BlockingPool::threads() const {
    std::lock_guard lock(impl_->mutex);
    return impl_->count;
}

std::size_t BlockingPool::queued() const {
    std::lock_guard lock(impl_->mutex);
    std::size_t waiting = impl_->queue.size();
    for (const auto& [file_system, jobs] : impl_->aside) waiting += jobs.size();
    return waiting;
}

}  // namespace sandbox
