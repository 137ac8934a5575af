#pragma once
// Waiting between coroutines of the loop thread.

#include <chrono>
#include <functional>
#include <memory>

#include "platform/loop.hpp"

namespace sandbox {

// A condition without memory: wait() suspends until the next notify(). Use it as with a condition variable:
// `while (!ready) co_await event.wait();` loses no wake-up, because the loop has one thread.
// The Event must outlive its waiters.
class Event {
  public:
    explicit Event(Loop& loop);
    ~Event();
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

    Task<> wait();
    // True when notified, false when `timeout` passed first.
    Task<bool> wait_for(std::chrono::milliseconds timeout);
    // Wakes all that wait now. They run later, from the loop.
    void notify();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Calls `action` once on the loop after `delay`. Destroying or restarting it cancels; a cancelled action
// never runs.
class Timer {
  public:
    explicit Timer(Loop& loop);
    ~Timer();
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    void start(std::chrono::milliseconds delay, std::function<void()> action);
    void cancel();

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

// Suspends for `delay`.
Task<> sleep_for(Loop& loop, std::chrono::milliseconds delay);

}  // namespace sandbox
