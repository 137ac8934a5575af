#include "platform/poller.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "platform/readiness.hpp"
#include "support/loop_fixture.hpp"

namespace sandbox {
namespace {

class PollerTest : public test::LoopTest {
  protected:
    PollerTest() {
        std::array<int, 2> fds{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds.data()), 0);
        ours_.reset(fds[0]);
        theirs_.reset(fds[1]);
    }
    void TearDown() override {
        ours_.reset();
        theirs_.reset();
        LoopTest::TearDown();
    }
    void say(std::string_view text) {
        EXPECT_EQ(::send(theirs_.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    }
    std::string read_some(std::size_t most) {
        std::string text(most, '\0');
        const ssize_t count = ::recv(ours_.get(), text.data(), most, 0);
        text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
        return text;
    }
    // Until our side takes no more.
    void fill() {
        const std::string block(4096, 'x');
        while (::send(ours_.get(), block.data(), block.size(), 0) > 0) {
        }
        ASSERT_EQ(errno, EAGAIN);
    }
    // Their side reads all that there is.
    void drain() {
        std::array<char, 65536> buffer{};
        while (::recv(theirs_.get(), buffer.data(), buffer.size(), 0) > 0) {
        }
    }
    UniqueFd ours_;
    UniqueFd theirs_;
};

Task<> note_readable(Readiness& readiness, std::optional<bool>& told) {
    told = co_await readiness.wait_readable();
}

Task<> note_writable(Readiness& readiness, std::optional<bool>& told) {
    told = co_await readiness.wait_writable();
}

struct Counting final : Poller::Watcher {
    void ready(std::uint32_t) override { ++calls; }
    void abandon() override {}
    int calls = 0;
};

TEST_F(PollerTest, WhatIsThereAlreadyIsTold) {
    say("x");
    Readiness readiness(loop_);
    ASSERT_TRUE(readiness.start(ours_.get()));
    EXPECT_TRUE(run(readiness.wait_readable()));
    EXPECT_TRUE(readiness.readable());
}

TEST_F(PollerTest, AReadThatTookAllWaitsForMore) {
    Readiness readiness(loop_);
    ASSERT_TRUE(readiness.start(ours_.get()));
    for (const char* text : {"one", "two"}) {
        std::optional<bool> told;
        spawn_task(loop_, "reader", note_readable(readiness, told));
        drive_for(std::chrono::milliseconds(20));
        EXPECT_FALSE(told) << "before " << text;
        say(text);
        drive_until([&] { return told.has_value(); });
        EXPECT_EQ(read_some(100), text);
        readiness.took_all();
    }
}

TEST_F(PollerTest, AReadThatLeftSomethingDoesNotWait) {
    Readiness readiness(loop_);
    ASSERT_TRUE(readiness.start(ours_.get()));
    say("one");
    EXPECT_TRUE(run(readiness.wait_readable()));
    EXPECT_EQ(read_some(1), "o");
    EXPECT_TRUE(run(readiness.wait_readable()));
}

TEST_F(PollerTest, AnEndBehindAShortReadIsNotMissed) {
    Readiness readiness(loop_);
    ASSERT_TRUE(readiness.start(ours_.get()));
    say("last words");
    theirs_.reset();
    EXPECT_TRUE(run(readiness.wait_readable()));
    EXPECT_EQ(read_some(100), "last words");
    readiness.took_all();
    EXPECT_TRUE(run(readiness.wait_readable())) << "both came with one event";
    EXPECT_EQ(read_some(100), "");
}

TEST_F(PollerTest, RoomIsToldWhenTheOtherSideReads) {
    Readiness readiness(loop_);
    ASSERT_TRUE(readiness.start(ours_.get()));
    fill();
    std::optional<bool> told;
    spawn_task(loop_, "writer", note_writable(readiness, told));
    drive_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(told);
    drain();
    drive_until([&] { return told.has_value(); });
    EXPECT_TRUE(*told);
    EXPECT_TRUE(run(readiness.wait_writable())) << "there is still room";
}

// It would be told again with each wait: a loop that spins for as long as the peer does not read.
TEST_F(PollerTest, APeerThatOnlyReadsIsNoRoom) {
    Readiness readiness(loop_);
    ASSERT_TRUE(readiness.start(ours_.get()));
    fill();
    ASSERT_EQ(::shutdown(theirs_.get(), SHUT_WR), 0);
    std::optional<bool> told;
    spawn_task(loop_, "writer", note_writable(readiness, told));
    drive_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(told);
    EXPECT_TRUE(readiness.readable()) << "there is an end to read";
    drain();
    drive_until([&] { return told.has_value(); });
    EXPECT_TRUE(*told);
}

TEST_F(PollerTest, APeerThatIsGoneWakesAWriter) {
    Readiness readiness(loop_);
    ASSERT_TRUE(readiness.start(ours_.get()));
    fill();
    std::optional<bool> told;
    spawn_task(loop_, "writer", note_writable(readiness, told));
    drive_for(std::chrono::milliseconds(5));
    theirs_.reset();
    drive_until([&] { return told.has_value(); });
    EXPECT_LT(::send(ours_.get(), "x", 1, MSG_NOSIGNAL), 0);
}

TEST_F(PollerTest, StopAndInterruptWakeWhoWaits) {
    Readiness readiness(loop_);
    ASSERT_TRUE(readiness.start(ours_.get()));
    fill();
    std::optional<bool> read;
    std::optional<bool> written;
    spawn_task(loop_, "reader", note_readable(readiness, read));
    spawn_task(loop_, "writer", note_writable(readiness, written));
    drive_for(std::chrono::milliseconds(5));
    readiness.interrupt_writer();
    drive_until([&] { return written.has_value(); });
    EXPECT_FALSE(*written);
    EXPECT_FALSE(read);
    readiness.stop();
    drive_until([&] { return read.has_value(); });
    EXPECT_FALSE(*read);
    EXPECT_FALSE(run(readiness.wait_readable())) << "it has ended";
    EXPECT_FALSE(run(readiness.wait_writable()));
}

TEST_F(PollerTest, AnActionRunsForEachArrival) {
    Readiness readiness(loop_);
    ASSERT_TRUE(readiness.start(ours_.get()));
    int runs = 0;
    readiness.on_readable([&] { ++runs; });
    say("a");
    drive_until([&] { return runs == 1; });
    say("b");
    drive_until([&] { return runs == 2; });
    readiness.on_readable({});
    say("c");
    EXPECT_TRUE(run(readiness.wait_readable()));
    EXPECT_EQ(runs, 2);
}

// A closed file stays in an epoll for as long as somebody has a copy of its descriptor.
TEST_F(PollerTest, EventsOfWhatWasClosedReachNobody) {
    Poller& poller = Poller::of(loop_);
    Counting gone;
    auto first = poller.add(ours_.get(), EPOLLIN | EPOLLET, gone);
    ASSERT_TRUE(first);
    const UniqueFd copy(::dup(ours_.get()));
    poller.remove(*first);
    ours_.reset();
    Counting alive;
    auto second = poller.add(theirs_.get(), EPOLLIN | EPOLLET, alive);
    ASSERT_TRUE(second);
    say("for nobody");
    EXPECT_EQ(::send(copy.get(), "x", 1, 0), 1);
    drive_until([&] { return alive.calls > 0; });
    EXPECT_EQ(gone.calls, 0);
    poller.remove(*second);
}

// Asks, each time it is told, to be called once all others have been told, too.
struct Gathering final : Poller::Watcher {
    Gathering(Poller& p, std::vector<int>& t) : poller(p), told_then(t) {}
    void ready(std::uint32_t) override {
        ++told;
        poller.after_turn([this] { told_then.push_back(told); });
    }
    void abandon() override {}

    Poller& poller;
    std::vector<int>& told_then;
    inline static int told = 0;
};

TEST_F(PollerTest, WhatRunsAfterATurnSeesAllThatCameTogether) {
    Poller& poller = Poller::of(loop_);
    std::vector<int> told_then;
    Gathering::told = 0;
    Gathering first(poller, told_then);
    Gathering second(poller, told_then);
    say("x");
    EXPECT_EQ(::send(ours_.get(), "y", 1, 0), 1);
    auto a = poller.add(ours_.get(), EPOLLIN | EPOLLET, first);
    auto b = poller.add(theirs_.get(), EPOLLIN | EPOLLET, second);
    ASSERT_TRUE(a && b);
    drive_until([&] { return !told_then.empty(); });
    EXPECT_EQ(told_then, (std::vector<int>{2, 2}));
    say("once more");
    drive_until([&] { return told_then.size() > 2; });
    EXPECT_EQ(told_then, (std::vector<int>{2, 2, 3})) << "each action runs once";
    poller.remove(*a);
    poller.remove(*b);
}

TEST_F(PollerTest, WhatEpollRefusesIsAnError) {
    UniqueFd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    Readiness readiness(loop_);
    const Result<> started = readiness.start(file.get());
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().sys_errno, EPERM);
    EXPECT_FALSE(readiness.started());
}

TEST_F(PollerTest, ALoopEndsWhenNothingIsWatched) {
    auto readiness = std::make_unique<Readiness>(loop_);
    ASSERT_TRUE(readiness->start(ours_.get()));
    drive_for(std::chrono::milliseconds(5));
    readiness.reset();
    loop_.restart();
    loop_.run();  // would hang
    readiness = std::make_unique<Readiness>(loop_);
    ASSERT_TRUE(readiness->start(theirs_.get()));
    EXPECT_EQ(::send(ours_.get(), "x", 1, 0), 1);
    EXPECT_TRUE(run(readiness->wait_readable())) << "and one that was idle goes on";
}

struct Owner {
    explicit Owner(Loop& loop) : readiness(loop) {}
    Readiness readiness;
    std::shared_ptr<int> witness;
};

Task<> wait_for_ever(std::shared_ptr<Owner> owner) { co_await owner->readiness.wait_readable(); }

TEST_F(PollerTest, ALoopThatIsDestroyedLetsGoOfWhoWaits) {
    auto witness = std::make_shared<int>(0);
    {
        Loop loop{1};
        auto owner = std::make_shared<Owner>(loop);
        owner->witness = witness;
        ASSERT_TRUE(owner->readiness.start(ours_.get()));
        spawn_task(loop, "waits", wait_for_ever(std::move(owner)));
        loop.run_for(std::chrono::milliseconds(5));
        EXPECT_EQ(witness.use_count(), 2);
    }
    EXPECT_EQ(witness.use_count(), 1) << "its coroutine held what it waited with";
}

}  // namespace
}  // namespace sandbox
