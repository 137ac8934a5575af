#include "platform/blocking_pool.hpp"

#include <pthread.h>

#include <boost/asio/async_result.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "base/log.hpp"

namespace sandbox {

namespace asio = boost::asio;

struct BlockingPool::Impl {
    Loop& loop;
    const std::string name;
    const std::size_t reserved;
    const std::size_t cap;
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<std::function<void()>> queue;
    std::size_t count = 0;
    std::size_t idle = 0;
    bool stopping = false;

    Impl(Loop& l, std::string n, std::size_t r, std::size_t c)
        : loop(l), name(std::move(n)), reserved(r), cap(c) {}

    void submit(const std::shared_ptr<Impl>& self, std::function<void()> job) {
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
        pthread_setname_np(thread, self->name.substr(0, 15).c_str());
        return true;
    }

    static void* thread_main(void* argument) {
        std::unique_ptr<std::shared_ptr<Impl>> holder(static_cast<std::shared_ptr<Impl>*>(argument));
        (*holder)->work();
        return nullptr;
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
            auto job = std::move(queue.front());
            queue.pop_front();
            lock.unlock();
            job();
            job = nullptr;
            lock.lock();
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
            --impl_->count;
        }
    }
}

BlockingPool::~BlockingPool() {
    std::unique_lock lock(impl_->mutex);
    impl_->stopping = true;
    impl_->queue.clear();
    impl_->wake.notify_all();
    // Threads own a share of Impl, so one that is stuck in a call can be left behind.
    impl_->wake.wait_for(lock, std::chrono::milliseconds(200), [&] { return impl_->count == 0; });
}

Task<> BlockingPool::run_erased(std::function<void()>* job) {
    std::exception_ptr failure;
    auto initiate = [this, job, &failure](auto handler) {
        auto guard = asio::make_work_guard(impl_->loop);
        // std::function wants copyable targets and a completion handler is move-only.
        auto shared = std::make_shared<decltype(handler)>(std::move(handler));
        impl_->submit(impl_, [this, job, &failure, shared, guard, loop = &impl_->loop]() mutable {
            try {
                (*job)();
            } catch (...) {
                failure = std::current_exception();
            }
            asio::post(*loop, [shared = std::move(shared), guard] { std::move (*shared)(); });
        });
    };
    co_await asio::async_initiate<const asio::use_awaitable_t<Executor>, void()>(initiate, use_task);
    if (failure) std::rethrow_exception(failure);
}

void BlockingPool::post(std::function<void()> work) {
    impl_->submit(impl_, [work = std::move(work)] {
        try {
            work();
        } catch (const std::exception& e) {
            log::error("background work failed", {{"error", e.what()}});
        }
    });
}

std::size_t BlockingPool::threads() const {
    std::lock_guard lock(impl_->mutex);
    return impl_->count;
}

std::size_t BlockingPool::queued() const {
    std::lock_guard lock(impl_->mutex);
    return impl_->queue.size();
}

}  // namespace sandbox
