#pragma once
// A loop on the test's own thread, driven until a coroutine has ended, with a deadline; at the end nothing
// may be left: no work on the loop, no descriptor, no child.

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "platform/event.hpp"
#include "platform/loop.hpp"
#include "platform/poller.hpp"
#include "platform/reaper.hpp"
#include "platform/signals.hpp"
#include "support/census.hpp"
#include "support/run_task.hpp"

namespace sandbox::test {

// Shared, because it may end long after a test has given it up.
template <class T>
Task<> keep_shared(Task<T> task, std::shared_ptr<std::optional<T>> result) {
    result->emplace(co_await std::move(task));
}

class LoopTest : public testing::Test {
  protected:
    static constexpr std::chrono::seconds kPatience{60};

    // Drives the loop until `condition()` holds; a failure when it does not within kPatience.
    template <class Condition>
    void drive_until(Condition condition) {
        auto deadline = std::chrono::steady_clock::now() + kPatience;
        while (!condition()) {
            if (std::chrono::steady_clock::now() > deadline) {
                ADD_FAILURE() << "it did not come to pass";
                return;
            }
            loop_.restart();
            loop_.run_one_for(std::chrono::milliseconds(10));
        }
    }

    void drive_for(std::chrono::milliseconds time) {
        loop_.restart();
        loop_.run_for(time);
    }

    // Runs a coroutine to its end, other work of the loop beside it. Throws std::bad_optional_access when it
    // hangs.
    template <class T>
    T run(Task<T> task) {
        auto result = std::make_shared<std::optional<T>>();
        spawn_task(loop_, "test", keep_shared(std::move(task), result));
        drive_until([&] { return result->has_value(); });
        return std::move(*result).value();
    }
    void run(Task<> task) {
        auto done = std::make_shared<bool>(false);
        spawn_task(loop_, "test", std::move(task), [done] { *done = true; });
        drive_until([&] { return *done; });
    }

    // Has SIGCHLD reaped, as the daemon does.
    void drive_reaper() {
        signals_ = std::make_unique<SignalSource>(loop_, [this](int signal, pid_t sender) {
            if (signal == SIGCHLD) reaper_.child_ended(sender);
        });
        reaper_.sweep();  // For what came before.
    }

    void TearDown() override {
        if (signals_) drive_until([] { return has_no_children(); });
        signals_.reset();
        run_loop(loop_);
        EXPECT_EQ(reaper_.watched(), 0U);
        EXPECT_TRUE(has_no_children());
        census_.check();
    }

    Loop loop_{1};
    Reaper reaper_{loop_};
    std::unique_ptr<SignalSource> signals_;

  private:
    // The loop opens descriptors of its own at first use: before the census.
    Timer reactor_{loop_};
    Poller& poller_ = Poller::of(loop_);
    DescriptorCensus census_;
};

}  // namespace sandbox::test
