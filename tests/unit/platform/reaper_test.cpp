#include "platform/reaper.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <utility>
#include <vector>

#include "platform/blocking_pool.hpp"
#include "platform/spawn.hpp"
#include "support/child.hpp"
#include "support/loop_fixture.hpp"

namespace sandbox {
namespace {

using test::shell;

class ReaperTest : public test::LoopTest {
  protected:
    struct Tally {
        int ended = 0;
        int wrong = 0;
        int next = 0;
    };

    // Spawns on pool threads and registers on the loop until `total` were started, one after the other.
    Task<> spawner(BlockingPool& pool, Tally& tally, int total) {
        while (tally.next < total) {
            int number = tally.next++;
            int code = number % 256;
            // Every tenth leaves an orphan behind, with a code of its own.
            std::string script = "exit " + std::to_string(code);
            if (number % 10 == 0) script = "(exit 77) & " + script;
            SpawnSpec spec = shell(script);
            reaper_.begin_spawn();
            auto job = [&spec] { return spawn(spec); };
            Result<pid_t> pid = co_await pool.run(job);
            if (!pid) {
                reaper_.end_failed_spawn();
                ++tally.wrong;
                continue;
            }
            reaper_.watch(*pid, [&tally, code](const ExitRecord& record) {
                ++tally.ended;
                if (!record.status.exited() || record.status.code() != code) ++tally.wrong;
            });
        }
    }
};

TEST_F(ReaperTest, TenThousandChildrenFromSeveralThreadsKeepTheirCodes) {
    constexpr int kTotal = 10'000;
    constexpr int kSpawners = 32;
    BlockingPool pool(loop_, "spawn", 2, 8);
    drive_reaper();
    Tally tally;
    int running = kSpawners;
    for (int i = 0; i < kSpawners; ++i) {
        spawn_task(loop_, "spawner", spawner(pool, tally, kTotal), [&running] { --running; });
    }
    for (int goal = 1000; goal <= kTotal; goal += 1000) {
        drive_until([&] { return tally.ended >= goal; });
        ASSERT_GE(tally.ended, goal);
    }
    drive_until([&] { return running == 0; });
    EXPECT_EQ(tally.ended, kTotal);
    EXPECT_EQ(tally.wrong, 0);
    drive_until([] { return test::has_no_children(); });
    EXPECT_EQ(reaper_.orphans_reaped(), kTotal / 10U);
}

TEST_F(ReaperTest, AChildThatEndedBeforeItWasWatched) {
    for (bool sweep_between : {false, true}) {
        reaper_.begin_spawn();
        auto pid = spawn(shell("exit 9"));
        ASSERT_TRUE(pid);
        ASSERT_TRUE(test::await_end(*pid));
        if (sweep_between) reaper_.sweep();
        int code = -1;
        reaper_.watch(*pid, [&](const ExitRecord& record) { code = record.status.code(); });
        EXPECT_EQ(code, sweep_between ? 9 : -1);
        reaper_.sweep();
        EXPECT_EQ(code, 9);
        EXPECT_EQ(reaper_.watched(), 0U);
        EXPECT_EQ(reaper_.orphans_reaped(), 0U);
    }
}

// Killed also when a test breaks off, so that its end need not wait for them.
struct Sleepers {
    Sleepers() = default;
    ~Sleepers() { end(); }
    Sleepers(const Sleepers&) = delete;
    Sleepers& operator=(const Sleepers&) = delete;
    void end() {
        for (pid_t pid : std::exchange(pids, {})) ::kill(pid, SIGKILL);
    }
    std::vector<pid_t> pids;
};

TEST_F(ReaperTest, AmongManyChildrenAllAreToldThoughOneSignalStandsForThem) {
    constexpr int kSleeping = 300;
    constexpr int kEnding = 5;
    Sleepers sleeping;
    int killed = 0;
    for (int i = 0; i < kSleeping; ++i) {
        reaper_.begin_spawn();
        auto pid = spawn(shell("exec sleep 1000"));
        ASSERT_TRUE(pid);
        sleeping.pids.push_back(*pid);
        reaper_.watch(*pid, [&](const ExitRecord& record) { killed += record.status.signal() == SIGKILL; });
    }
    // One that is pending from before would swallow those to come.
    sigset_t of_children;
    sigemptyset(&of_children);
    sigaddset(&of_children, SIGCHLD);
    const timespec no_time{};
    while (::sigtimedwait(&of_children, nullptr, &no_time) == SIGCHLD) {
    }
    drive_reaper();
    int ended = 0;
    for (int i = 0; i < kEnding; ++i) {
        reaper_.begin_spawn();
        auto pid = spawn(shell("exit 3"));
        ASSERT_TRUE(pid);
        ASSERT_TRUE(test::await_end(*pid));
        reaper_.watch(*pid, [&](const ExitRecord& record) { ended += record.status.code() == 3; });
    }
    for (pid_t none : {pid_t{0}, pid_t{-1}}) reaper_.look_at(none);
    EXPECT_EQ(ended, 0) << "a signal that names no child names none";
    drive_until([&] { return ended > 0; });
    EXPECT_EQ(ended, 1) << "whom the signal names is told at once, without a look at all the others";
    drive_until([&] { return ended == kEnding; });
    EXPECT_EQ(ended, kEnding);
    sleeping.end();
    drive_until([&] { return killed == kSleeping; });
    EXPECT_EQ(killed, kSleeping);
    EXPECT_EQ(reaper_.orphans_reaped(), 0U);
}

TEST_F(ReaperTest, ANumberThatIsNotOfAnEndedChildDoesNoHarm) {
    reaper_.begin_spawn();
    auto pid = spawn(shell("exec sleep 1000"));
    ASSERT_TRUE(pid);
    int ended = 0;
    reaper_.watch(*pid, [&](const ExitRecord&) { ++ended; });
    for (pid_t other : {*pid, ::getpid(), pid_t{1}}) reaper_.child_ended(other);
    EXPECT_EQ(ended, 0);
    ::kill(*pid, SIGKILL);
    drive_reaper();
    drive_until([&] { return ended == 1; });
}

TEST_F(ReaperTest, UsageIsThatOfTheChild) {
    drive_reaper();
    reaper_.begin_spawn();
    auto pid = spawn(shell("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"));
    ASSERT_TRUE(pid);
    std::optional<ExitRecord> end;
    reaper_.watch(*pid, [&](const ExitRecord& record) { end = record; });
    drive_until([&] { return end.has_value(); });
    EXPECT_GT(end->usage.ru_utime.tv_sec * 1'000'000 + end->usage.ru_utime.tv_usec, 1000);
    EXPECT_GT(end->usage.ru_maxrss, 100);
}

TEST_F(ReaperTest, OrphansAreCountedAlsoWhileASpawnIsUnderWay) {
    auto orphans = [](int count) {
        std::string script;
        for (int i = 0; i < count; ++i) script += "(exit 1) & ";
        test::wait_for(test::Child(shell(script + "exit 0")).pid());
        // They are ours now; all of them have ended when the first look finds only zombies.
        EXPECT_TRUE(test::eventually([] {
            siginfo_t info{};
            return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
        }));
    };
    orphans(3);
    EXPECT_TRUE(test::eventually([this] {
        reaper_.sweep();
        return test::has_no_children();
    }));
    EXPECT_EQ(reaper_.orphans_reaped(), 3U);

    reaper_.begin_spawn();
    reaper_.begin_spawn();
    orphans(2);
    EXPECT_TRUE(test::eventually([this] {
        reaper_.sweep();
        return test::has_no_children();
    }));
    EXPECT_EQ(reaper_.orphans_reaped(), 3U) << "it may still be a child of the spawns";
    reaper_.end_failed_spawn();
    EXPECT_EQ(reaper_.orphans_reaped(), 3U);
    reaper_.end_failed_spawn();
    EXPECT_EQ(reaper_.orphans_reaped(), 5U);
}

TEST_F(ReaperTest, OneExitMayStartTheNextWatch) {
    drive_reaper();
    int second_code = -1;
    reaper_.begin_spawn();
    auto first = spawn(shell("exit 1"));
    ASSERT_TRUE(first);
    reaper_.watch(*first, [&](const ExitRecord&) {
        reaper_.begin_spawn();
        auto second = spawn(shell("exit 2"));
        ASSERT_TRUE(second);
        reaper_.watch(*second, [&](const ExitRecord& record) { second_code = record.status.code(); });
    });
    drive_until([&] { return second_code == 2; });
}

// The next process gets number `wanted` when nobody else is quicker (proc(5), ns_last_pid).
std::optional<pid_t> spawn_with_number(const SpawnSpec& spec, pid_t wanted) {
    for (int attempt = 0; attempt < 2000; ++attempt) {
        {
            UniqueFd file(::open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC));
            std::string number = std::to_string(wanted - 1);
            if (!file || ::write(file.get(), number.data(), number.size()) < 0) return std::nullopt;
        }
        auto pid = spawn(spec);
        if (!pid) return std::nullopt;
        if (*pid == wanted) return wanted;
        ::kill(*pid, SIGKILL);
        test::wait_for(*pid);
    }
    return std::nullopt;
}

// The number of an orphan that was swept during a spawn is given to the spawned child.
class RecycledNumberTest : public ReaperTest {
  protected:
    // Ends with the orphan's record unclaimed and a child of the same number. False: not to be had here.
    bool recycle(const std::string& script) {
        reaper_.begin_spawn();
        auto orphan = spawn(shell("exit 55"));
        EXPECT_TRUE(orphan);
        EXPECT_TRUE(test::await_end(*orphan));
        reaper_.sweep();
        auto child = spawn_with_number(shell(script), *orphan);
        if (child) {
            pid_ = *child;
        } else {
            reaper_.end_failed_spawn();
        }
        return child.has_value();
    }
    pid_t pid_ = 0;
};

TEST_F(RecycledNumberTest, ALivingChildIsNotMistakenForTheOrphan) {
    if (!recycle("exec sleep 1000")) GTEST_SKIP() << "the next process number cannot be chosen here";
    std::optional<ExitStatus> end;
    reaper_.watch(pid_, [&](const ExitRecord& record) { end = record.status; });
    EXPECT_FALSE(end);
    EXPECT_EQ(reaper_.orphans_reaped(), 1U);
    ::kill(pid_, SIGTERM);
    drive_reaper();
    drive_until([&] { return end.has_value(); });
    EXPECT_EQ(end->signal(), SIGTERM);
}

TEST_F(RecycledNumberTest, AChildThatEndedUnsweptIsNotMistakenForTheOrphan) {
    if (!recycle("exit 66")) GTEST_SKIP() << "the next process number cannot be chosen here";
    ASSERT_TRUE(test::await_end(pid_));
    std::optional<ExitStatus> end;
    reaper_.watch(pid_, [&](const ExitRecord& record) { end = record.status; });
    EXPECT_FALSE(end);
    reaper_.sweep();
    ASSERT_TRUE(end);
    EXPECT_EQ(end->code(), 66);
    EXPECT_EQ(reaper_.orphans_reaped(), 1U);
}

TEST_F(RecycledNumberTest, AChildThatWasSweptTooIsTheLaterOne) {
    if (!recycle("exit 66")) GTEST_SKIP() << "the next process number cannot be chosen here";
    ASSERT_TRUE(test::await_end(pid_));
    reaper_.sweep();
    std::optional<ExitStatus> end;
    reaper_.watch(pid_, [&](const ExitRecord& record) { end = record.status; });
    ASSERT_TRUE(end);
    EXPECT_EQ(end->code(), 66);
    EXPECT_EQ(reaper_.orphans_reaped(), 1U);
}

}  // namespace
}  // namespace sandbox
