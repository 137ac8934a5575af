#include "platform/event.hpp"

#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "support/loop_fixture.hpp"

namespace sandbox {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

class EventTest : public test::LoopTest {
  protected:
    Event event_{loop_};
};

Task<> wait_while(Event& event, const bool& ready, int& woken) {
    while (!ready) co_await event.wait();
    ++woken;
}

Task<> record_wait(Event& event, milliseconds timeout, std::string& record) {
    const bool notified = co_await event.wait_for(timeout);
    record += notified ? 'n' : 't';
}

TEST_F(EventTest, WakesAllThatWaitAndNobodyBefore) {
    bool ready = false;
    int woken = 0;
    for (int i = 0; i < 3; ++i) spawn_task(loop_, "waiter", wait_while(event_, ready, woken));
    drive_for(milliseconds(20));
    event_.notify();  // Without the condition: they wait on.
    drive_for(milliseconds(20));
    EXPECT_EQ(woken, 0);
    ready = true;
    event_.notify();
    EXPECT_EQ(woken, 0) << "they run from the loop, not from within notify()";
    drive_until([&] { return woken == 3; });
}

TEST_F(EventTest, HasNoMemory) {
    event_.notify();
    std::string record;
    spawn_task(loop_, "waiter", record_wait(event_, milliseconds(30), record));
    drive_until([&] { return !record.empty(); });
    EXPECT_EQ(record, "t");
}

TEST_F(EventTest, AWaitWithADeadlineTellsWhichCameFirst) {
    std::string record;
    spawn_task(loop_, "waiter", record_wait(event_, milliseconds(60'000), record));
    spawn_task(loop_, "waiter", record_wait(event_, milliseconds(60'000), record));
    drive_for(milliseconds(10));
    event_.notify();
    drive_until([&] { return record.size() == 2; });
    EXPECT_EQ(record, "nn");
    auto before = Clock::now();
    run(record_wait(event_, milliseconds(50), record));
    EXPECT_EQ(record, "nnt");
    EXPECT_GE(Clock::now() - before, milliseconds(50));
}

Task<> notify_in_turn(Event& mine, Event& other, int rounds, int& count) {
    for (int i = 0; i < rounds; ++i) {
        int seen = count;
        ++count;
        other.notify();
        while (count == seen + 1 && i + 1 < rounds) co_await mine.wait();
    }
    other.notify();
}

TEST_F(EventTest, NoWakeUpIsLostBetweenTwoThatWakeEachOther) {
    Event other(loop_);
    int count = 0;
    int done = 0;
    spawn_task(loop_, "left", notify_in_turn(event_, other, 1000, count), [&] { ++done; });
    spawn_task(loop_, "right", notify_in_turn(other, event_, 1000, count), [&] { ++done; });
    drive_until([&] { return done == 2; });
    EXPECT_EQ(count, 2000);
}

TEST_F(EventTest, SleepForTakesItsTime) {
    auto before = Clock::now();
    run(sleep_for(loop_, milliseconds(40)));
    EXPECT_GE(Clock::now() - before, milliseconds(40));
}

class TimerTest : public test::LoopTest {};

TEST_F(TimerTest, RunsOnceAfterItsDelay) {
    Timer timer(loop_);
    int runs = 0;
    auto before = Clock::now();
    Clock::time_point ran;
    timer.start(milliseconds(30), [&] {
        ++runs;
        ran = Clock::now();
    });
    drive_until([&] { return runs > 0; });
    EXPECT_GE(ran - before, milliseconds(30));
    test::run_loop(loop_);
    EXPECT_EQ(runs, 1);
}

TEST_F(TimerTest, CancelledRestartedAndDestroyedOnesDoNotRun) {
    std::string runs;
    Timer cancelled(loop_);
    cancelled.start(milliseconds(1), [&] { runs += 'c'; });
    Timer restarted(loop_);
    restarted.start(milliseconds(1), [&] { runs += 'x'; });
    auto destroyed = std::make_unique<Timer>(loop_);
    destroyed->start(milliseconds(1), [&] { runs += 'd'; });
    // All are due by now, and their completions may be queued.
    std::this_thread::sleep_for(milliseconds(5));
    cancelled.cancel();
    restarted.start(milliseconds(1), [&] { runs += 'r'; });
    destroyed.reset();
    test::run_loop(loop_);
    EXPECT_EQ(runs, "r");
}

TEST_F(TimerTest, ATimerMayBeCancelledByAnotherThatIsDueWithIt) {
    std::string runs;
    Timer first(loop_);
    Timer second(loop_);
    first.start(milliseconds(1), [&] {
        runs += '1';
        second.cancel();
    });
    second.start(milliseconds(1), [&] {
        runs += '2';
        first.cancel();
    });
    std::this_thread::sleep_for(milliseconds(5));
    test::run_loop(loop_);
    EXPECT_EQ(runs.size(), 1U);
}

TEST_F(TimerTest, AnActionMayRestartOrDestroyItsTimer) {
    int runs = 0;
    auto timer = std::make_unique<Timer>(loop_);
    std::function<void()> action = [&] {
        if (++runs < 3) {
            timer->start(milliseconds(1), action);
        } else {
            timer.reset();
        }
    };
    timer->start(milliseconds(1), action);
    test::run_loop(loop_);
    EXPECT_EQ(runs, 3);
    EXPECT_EQ(timer, nullptr);
}

}  // namespace
}  // namespace sandbox
