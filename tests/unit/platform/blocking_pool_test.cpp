#include "platform/blocking_pool.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

#include "support/loop_fixture.hpp"

namespace sandbox {
namespace {

class BlockingPoolTest : public test::LoopTest {};

// Holds pool threads until it is opened.
class Gate {
  public:
    void pass() {
        std::unique_lock lock(mutex_);
        ++inside_;
        changed_.wait(lock, [this] { return open_; });
    }
    void open() {
        std::lock_guard lock(mutex_);
        open_ = true;
        changed_.notify_all();
    }
    int inside() {
        std::lock_guard lock(mutex_);
        return inside_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    int inside_ = 0;
    bool open_ = false;
};

Task<> pass_gate(BlockingPool& pool, Gate& gate, int& done) {
    auto job = [&gate] { gate.pass(); };
    co_await pool.run(job);
    ++done;
}

Task<> thread_ids(BlockingPool& pool, std::thread::id& inside, std::thread::id& after, std::string& name) {
    auto job = [&] {
        char text[32] = {};
        ::pthread_getname_np(::pthread_self(), text, sizeof text);
        name = text;
        return std::this_thread::get_id();
    };
    inside = co_await pool.run(job);
    after = std::this_thread::get_id();
}

TEST_F(BlockingPoolTest, WorkRunsElsewhereAndTheCallerGoesOnOnTheLoop) {
    BlockingPool pool(loop_, "a-pool-with-a-long-name", 1, 2);
    std::thread::id inside;
    std::thread::id after;
    std::string name;
    EXPECT_TRUE(test::eventually([&] {
        run(thread_ids(pool, inside, after, name));
        return name == "a-pool-with-a-l";  // A thread gets its name right after its start.
    })) << name;
    EXPECT_NE(inside, std::this_thread::get_id());
    EXPECT_EQ(after, std::this_thread::get_id());
}

Task<> throwing(BlockingPool& pool, std::string& message) {
    auto job = []() -> std::string { throw std::runtime_error("broken"); };
    try {
        co_await pool.run(job);
    } catch (const std::runtime_error& e) {
        message = e.what();
    }
}

TEST_F(BlockingPoolTest, ResultsMayBeMoveOnlyAndExceptionsComeOut) {
    BlockingPool pool(loop_, "pool", 1, 2);
    auto job = [] { return std::make_unique<int>(7); };
    EXPECT_EQ(*run(pool.run(job)), 7);
    std::string message;
    run(throwing(pool, message));
    EXPECT_EQ(message, "broken");
    EXPECT_EQ(*run(pool.run(job)), 7);
}

TEST_F(BlockingPoolTest, GrowsUpToItsCapAndQueuesBeyond) {
    BlockingPool pool(loop_, "pool", 1, 4);
    Gate gate;
    int done = 0;
    for (int i = 0; i < 7; ++i) spawn_task(loop_, "work", pass_gate(pool, gate, done));
    drive_until([&] { return gate.inside() == 4; });
    drive_for(std::chrono::milliseconds(20));
    EXPECT_EQ(gate.inside(), 4);
    EXPECT_EQ(pool.threads(), 4U);
    EXPECT_EQ(pool.queued(), 3U);
    EXPECT_EQ(done, 0);
    gate.open();
    drive_until([&] { return done == 7; });
    EXPECT_EQ(gate.inside(), 7);
    EXPECT_EQ(pool.queued(), 0U);
}

TEST_F(BlockingPoolTest, AStuckThreadDoesNotHoldUpTheOthers) {
    BlockingPool pool(loop_, "pool", 1, 2);
    Gate gate;
    int done = 0;
    spawn_task(loop_, "stuck", pass_gate(pool, gate, done));
    drive_until([&] { return gate.inside() == 1; });
    for (int i = 0; i < 100; ++i) {
        auto job = [i] { return i; };
        ASSERT_EQ(run(pool.run(job)), i);
    }
    EXPECT_EQ(done, 0);
    gate.open();
    drive_until([&] { return done == 1; });
}

TEST_F(BlockingPoolTest, PostedWorkRunsAndItsExceptionsAreSwallowed) {
    BlockingPool pool(loop_, "pool", 1, 1);
    std::atomic<int> ran = 0;
    pool.post([&] {
        ++ran;
        throw std::runtime_error("nobody waits");
    });
    pool.post([&] { ++ran; });
    EXPECT_TRUE(test::eventually([&] { return ran == 2; }));
}

Task<> wait_in_queue(BlockingPool& pool, int& done) {
    auto job = [] {};
    co_await pool.run(job);
    ++done;
}

TEST_F(BlockingPoolTest, QueuedWorkIsAbandonedWithItsPool) {
    Gate gate;
    int stuck_done = 0;
    int done = 0;
    {
        BlockingPool pool(loop_, "pool", 1, 1);
        spawn_task(loop_, "stuck", pass_gate(pool, gate, stuck_done));
        drive_until([&] { return gate.inside() == 1; });
        spawn_task(loop_, "queued", wait_in_queue(pool, done));
        drive_until([&] { return pool.queued() == 1; });
        std::thread opener([&] {
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
            gate.open();
        });
        opener.detach();
    }
    drive_until([&] { return stuck_done == 1; });
    EXPECT_EQ(done, 0);
}

Task<> count_up(BlockingPool& pool, int& done) {
    auto job = [] { return 1; };
    done += co_await pool.run(job);
}

// For a process of its own: a user that may have no further thread.
bool take_threads_away() {
    rlimit none{0, 0};
    return ::setresgid(65534, 65534, 65534) == 0 && ::setresuid(65534, 65534, 65534) == 0 &&
           ::setrlimit(RLIMIT_NPROC, &none) == 0;
}

int work_without_further_threads() {
    Loop loop(1);
    BlockingPool pool(loop, "pool", 1, 8);
    if (!take_threads_away()) return 2;
    int done = 0;
    for (int i = 0; i < 20; ++i) spawn_task(loop, "work", count_up(pool, done));
    loop.run_for(std::chrono::seconds(20));
    if (done != 20) return 4;
    return pool.threads() == 1 ? 0 : 5;
}

// A pool without a thread would take work and never do it.
int make_without_threads() {
    Loop loop(1);
    if (!take_threads_away()) return 2;
    try {
        BlockingPool pool(loop, "pool", 1, 8);
    } catch (const std::system_error&) {
        return 0;
    }
    return 3;
}

void expect_zero_in_a_child(int (*body)()) {
    pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) ::_exit(body());
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(BlockingPoolTest, TheReservedThreadDoesItAllWhenNoOtherCanBeMade) {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "ThreadSanitizer refuses threads after a fork";
#endif
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    expect_zero_in_a_child(work_without_further_threads);
}

TEST_F(BlockingPoolTest, WithoutItsReservedThreadItIsNotMade) {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "ThreadSanitizer refuses threads after a fork";
#endif
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    expect_zero_in_a_child(make_without_threads);
}

// ---- fairness between file systems; /proc and /sys stand for two that hang

Task<> pass_gate_on(BlockingPool& pool, std::string path, Gate& gate, int& done) {
    auto job = [&gate] { gate.pass(); };
    co_await pool.run_on(std::move(path), job);
    ++done;
}

TEST_F(BlockingPoolTest, OneFileSystemGetsHalfOfTheThreads) {
    BlockingPool pool(loop_, "pool", 1, 16);
    Gate hung;
    Gate other;
    int done = 0;
    for (int i = 0; i < 40; ++i) spawn_task(loop_, "hung", pass_gate_on(pool, "/proc/stat", hung, done));
    // Two are not looked at, and then as many as are left for others.
    drive_until([&] { return pool.queued() == 40U - 9U && hung.inside() == 9; });
    for (int i = 0; i < 40; ++i) spawn_task(loop_, "other", pass_gate_on(pool, "/sys/kernel", other, done));
    drive_until([&] { return pool.queued() == 80U - 9U - 3U && other.inside() == 3; });
    for (int i = 0; i < 50; ++i) {
        auto job = [i] { return i; };
        EXPECT_EQ(run(pool.run_on(std::string("/"), job)), i);
        EXPECT_EQ(run(pool.run(job)), i);
    }
    EXPECT_EQ(hung.inside(), 9);
    EXPECT_EQ(done, 0);
    hung.open();
    drive_until([&] { return hung.inside() == 40; });
    other.open();
    drive_until([&] { return done == 80; });
    EXPECT_EQ(pool.queued(), 0U);
}

TEST_F(BlockingPoolTest, ASingleThreadServesFileSystemsToo) {
    BlockingPool pool(loop_, "pool", 1, 1);
    Gate gate;
    int done = 0;
    for (const char* path : {"/proc/stat", "/sys/kernel", "/proc/stat", "/proc/stat"}) {
        spawn_task(loop_, "work", pass_gate_on(pool, path, gate, done));
    }
    drive_until([&] { return gate.inside() == 1; });
    gate.open();
    drive_until([&] { return done == 4; });
}

TEST_F(BlockingPoolTest, WorkOnTwoPathsIsCountedForBoth) {
    BlockingPool pool(loop_, "pool", 1, 8);
    Gate gate;
    int done = 0;
    auto job = [&gate] { gate.pass(); };
    for (int i = 0; i < 8; ++i) {
        std::vector<std::string> paths{"/sys/kernel", "/proc/stat"};
        spawn_task(loop_, "both", pool.run_on(std::move(paths), job));
    }
    drive_until([&] { return gate.inside() == 4; });
    spawn_task(loop_, "one", pass_gate_on(pool, "/proc/stat", gate, done));
    drive_for(std::chrono::milliseconds(50));
    EXPECT_EQ(gate.inside(), 4);
    gate.open();
    drive_until([&] { return gate.inside() == 9 && done == 1; });
}

}  // namespace
}  // namespace sandbox
