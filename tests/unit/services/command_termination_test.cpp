#include "services/command.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "platform/descriptor_reserve.hpp"
#include "support/child.hpp"
#include "support/command_fixture.hpp"
#include "support/folder.hpp"
#include "support/used_up_descriptors.hpp"

namespace sandbox {
namespace {

using test::CommandTest;
using test::keep_result;
using Clock = std::chrono::steady_clock;

TEST_F(CommandTest, ATimeoutEndsTheTreeAndKeepsWhatWasPrinted) {
    CommandSpec spec = shell("echo before; sleep 1000 & setsid sleep 1000; echo never");
    spec.timeout = Milliseconds(100);
    CommandEnd ended = complete(spec);
    EXPECT_TRUE(ended.timed_out);
    EXPECT_TRUE(ended.killed_by_us);
    EXPECT_EQ(ended.exit.status.signal(), SIGTERM);
    EXPECT_FALSE(ended.pipes_open);
    EXPECT_EQ(sink_->out(), "before\n");
    EXPECT_TRUE(test::has_no_children());
    spec = shell("exit 4");
    spec.timeout = Milliseconds(60'000);
    ended = complete(spec);
    EXPECT_FALSE(ended.timed_out);
    EXPECT_EQ(ended.exit.status.code(), 4);
}

// Ends when it is told to, while the loop is not looking.
class EndsUnseen {
  public:
    EndsUnseen() { EXPECT_EQ(::mkfifo(fifo_.c_str(), 0600), 0); }
    std::string script(int code) const {
        return "read -r line < " + fifo_ + "; exit " + std::to_string(code);
    }
    void end(pid_t pid) const {
        { std::ofstream(fifo_) << "go\n"; }
        ASSERT_TRUE(test::await_end(pid));
    }

  private:
    test::Folder folder_;
    std::string fifo_ = folder_.path() + "/go";
};

TEST_F(CommandTest, WhatEndedBeforeItsTimeoutOrItsKillEndedByItself) {
    const EndsUnseen job;
    CommandSpec spec = shell(job.script(4));
    spec.timeout = Milliseconds(2000);
    auto command = start(spec);
    job.end(command->pid());
    std::this_thread::sleep_for(spec.timeout);
    CommandEnd ended = run(command->wait(EndRule::exit_and_eof));
    EXPECT_FALSE(ended.timed_out);
    EXPECT_FALSE(ended.killed_by_us);
    EXPECT_EQ(ended.exit.status.code(), 4);

    command = start(shell(job.script(5)));
    job.end(command->pid());
    EXPECT_EQ(run(command->terminate(Milliseconds(0))), KillOutcome::nothing_left);
    ended = run(command->wait(EndRule::exit_and_eof));
    EXPECT_FALSE(ended.killed_by_us);
    EXPECT_EQ(ended.exit.status.code(), 5);

    command = start(shell(job.script(6)));
    job.end(command->pid());
    const Result<> signalled = run(command->signal(SIGTERM, false));
    ASSERT_FALSE(signalled);
    EXPECT_EQ(signalled.error().sys_errno, ESRCH);
    EXPECT_EQ(run(command->wait(EndRule::exit_and_eof)).exit.status.code(), 6);
}

TEST_F(CommandTest, TheWholeTreeDies) {
    auto command =
        start(shell("sleep 1000 & setsid sleep 1000 & setsid env -i /bin/sh -c 'echo up; sleep 1000; :' & "
                    "sleep 1000; echo never"));
    drive_until([&] { return sink_->out() == "up\n"; });
    EXPECT_EQ(run(command->terminate(Milliseconds(60'000))), KillOutcome::gone);
    CommandEnd ended = run(command->wait(EndRule::exit_and_eof));
    EXPECT_TRUE(ended.killed_by_us);
    EXPECT_EQ(ended.exit.status.signal(), SIGTERM);
    drive_until([] { return test::has_no_children(); });
    EXPECT_EQ(sink_->out(), "up\n");
}

TEST_F(CommandTest, ATreeThatIgnoresSigtermGetsSigkill) {
    auto command = start(shell("trap '' TERM; setsid sleep 1000 & echo up; sleep 1000"));
    drive_until([&] { return sink_->out() == "up\n"; });
    auto before = Clock::now();
    EXPECT_EQ(run(command->terminate(Milliseconds(200))), KillOutcome::gone);
    EXPECT_GE(Clock::now() - before, Milliseconds(200));
    EXPECT_EQ(run(command->wait_exit()).exit.status.signal(), SIGKILL);
    run(command->wait(EndRule::exit_and_eof));
}

// A tree of which a part hangs on the leader by its parent link only, and ignores SIGTERM.
class WithoutDescriptorsTest : public CommandTest {
  protected:
    void SetUp() override {
        command_ = start(shell("setsid env -i /bin/sh -c 'trap \"\" TERM; echo $$; sleep 1000; :' & wait"));
        drive_until([&] { return sink_->out().ends_with('\n'); });
        inner_ = std::stoi(sink_->out());
    }
    void TearDown() override {
        signal_descendants(SIGKILL, 0);
        run(command_->wait(EndRule::exit_and_eof));
        command_.reset();
        CommandTest::TearDown();
    }
    bool inner_lives() const { return ::kill(inner_, 0) == 0; }
    // Those held back, too.
    static std::vector<UniqueFd> take_the_reserve() {
        std::vector<UniqueFd> held;
        while (UniqueFd fd = descriptor_reserve().open("/", O_PATH)) held.push_back(std::move(fd));
        return held;
    }

    std::shared_ptr<Command> command_;
    pid_t inner_ = -1;
};

TEST_F(WithoutDescriptorsTest, TheTreeDiesByThoseHeldBack) {
    test::UsedUpDescriptors used_up(false);
    EXPECT_TRUE(run(command_->signal(SIGCONT, true)));
    EXPECT_EQ(run(command_->terminate(Milliseconds(50))), KillOutcome::gone);
    EXPECT_FALSE(inner_lives());
}

TEST_F(WithoutDescriptorsTest, WhatLivesIsNotToldAsGoneWhileSomebodyTakesWhateverIsFreed) {
    test::UsedUpDescriptors used_up(true);
    const KillOutcome outcome = run(command_->terminate(Milliseconds(50)));
    EXPECT_NE(outcome, KillOutcome::nothing_left);
    EXPECT_TRUE(outcome == KillOutcome::survivors || !inner_lives());
}

TEST_F(WithoutDescriptorsTest, WhoWasOutOfSightWhenTheLeaderEndedMayLive) {
    test::UsedUpDescriptors used_up(false);
    std::vector<UniqueFd> held = take_the_reserve();
    const Result<> signalled = run(command_->signal(SIGUSR1, true));
    ASSERT_FALSE(signalled);
    EXPECT_EQ(signalled.error().code, Errc::resource_exhausted);
    EXPECT_EQ(signalled.error().message, "cannot look at the processes");
    std::optional<KillOutcome> outcome;
    spawn_task(loop_, "kill", keep_result(command_->terminate(Milliseconds(50)), &outcome));
    drive_until([&] { return command_->has_exited(); });
    EXPECT_FALSE(outcome);
    held.clear();
    drive_until([&] { return outcome.has_value(); });
    EXPECT_EQ(*outcome, KillOutcome::survivors);
    EXPECT_TRUE(inner_lives());
}

TEST_F(WithoutDescriptorsTest, TheKillGoesOnWhenThereAreSomeBeforeTheLeaderEnds) {
    std::optional<KillOutcome> outcome;
    const Clock::time_point before = Clock::now();
    {
        test::UsedUpDescriptors used_up(false);
        std::vector<UniqueFd> held = take_the_reserve();
        spawn_task(loop_, "kill", keep_result(command_->terminate(Milliseconds(50)), &outcome));
        drive_for(Milliseconds(20));
    }
    drive_until([&] { return command_->has_exited(); });
    // The leader is not spared for longer than that, on a machine however busy.
    const bool in_time = Clock::now() - before < Milliseconds(200);
    drive_until([&] { return outcome.has_value(); });
    EXPECT_TRUE(*outcome == KillOutcome::gone || !in_time);
    EXPECT_TRUE(*outcome == KillOutcome::survivors || !inner_lives());
}

TEST_F(CommandTest, ASecondEndJoinsTheFirstAndMayShortenIt) {
    auto command = start(shell("trap '' TERM; echo up; sleep 1000"));
    drive_until([&] { return sink_->out() == "up\n"; });
    std::optional<KillOutcome> first;
    std::optional<KillOutcome> longer;
    spawn_task(loop_, "first", keep_result(command->terminate(Milliseconds(100'000)), &first));
    spawn_task(loop_, "longer", keep_result(command->terminate(Milliseconds(200'000)), &longer));
    drive_for(Milliseconds(100));
    EXPECT_FALSE(first || longer);
    EXPECT_EQ(run(command->terminate(Milliseconds(50))), KillOutcome::gone);
    drive_until([&] { return first && longer; });
    EXPECT_EQ(*first, KillOutcome::gone);
    EXPECT_EQ(*longer, KillOutcome::gone);
    EXPECT_EQ(run(command->terminate(Milliseconds(50))), KillOutcome::nothing_left);
}

TEST_F(CommandTest, TheTreeOfAnEndedLeaderCanBeEnded) {
    auto command = start(shell("setsid sleep 1000 & sleep 1000 & exit 0"));
    CommandEnd ended = run(command->wait(EndRule::exit_and_drain));
    EXPECT_TRUE(ended.pipes_open);
    EXPECT_EQ(run(command->terminate(Milliseconds(1000))), KillOutcome::gone);
    ended = run(command->wait(EndRule::exit_and_eof));
    EXPECT_FALSE(ended.killed_by_us) << "its leader ended by itself";
    EXPECT_EQ(run(command->terminate(Milliseconds(1000))), KillOutcome::nothing_left);
}

TEST_F(CommandTest, SigtermComesOnceAndCleaningUpIsLeftAlone) {
    // Not blocked in `read`: dash would keep a signal that comes just before that until there is input.
    CommandSpec spec = shell("trap 'echo term' TERM; echo up; while :; do sleep 0.02; done");
    auto command = start(spec);
    drive_until([&] { return sink_->out() == "up\n"; });
    run(command->terminate(Milliseconds(300)));
    run(command->wait(EndRule::exit_and_eof));
    EXPECT_EQ(sink_->out(), "up\nterm\n");

    spec.shell_command =
        "trap 'sleep 0.3 && echo cleaned; exit 0' TERM; echo up; while :; do sleep 0.02; done";
    command = start(spec);
    drive_until([&] { return sink_->out() == "up\n"; });
    EXPECT_EQ(run(command->terminate(Milliseconds(60'000))), KillOutcome::gone);
    EXPECT_EQ(run(command->wait(EndRule::exit_and_eof)).exit.status.code(), 0);
    EXPECT_EQ(sink_->out(), "up\ncleaned\n");
}

TEST_F(CommandTest, AStoppedCommandActsOnSigterm) {
    auto command = start(shell("trap 'echo bye; exit 3' TERM; echo up; kill -STOP $$; sleep 1000"));
    drive_until([&] { return sink_->out() == "up\n"; });
    run(command->terminate(Milliseconds(60'000)));
    EXPECT_EQ(run(command->wait(EndRule::exit_and_eof)).exit.status.code(), 3);
    EXPECT_EQ(sink_->out(), "up\nbye\n");
}

TEST_F(CommandTest, WhoEndsByAnotherSignalThanOursWasNotKilledByUs) {
    auto command = start(shell("trap 'kill -KILL $$' TERM; echo up; while :; do sleep 0.02; done"));
    drive_until([&] { return sink_->out() == "up\n"; });
    EXPECT_TRUE(run(command->signal(SIGTERM, false)));
    CommandEnd ended = run(command->wait(EndRule::exit_and_eof));
    EXPECT_EQ(ended.exit.status.signal(), SIGKILL);
    EXPECT_FALSE(ended.killed_by_us);
}

TEST_F(CommandTest, SignalsGoToTheLeaderOrTheTree) {
    // Not blocked in `read`: dash would keep a signal that comes just before that until there is input.
    auto command = start(shell("trap 'echo usr1' USR1; echo up; while :; do sleep 0.02; done"));
    drive_until([&] { return sink_->out() == "up\n"; });
    EXPECT_TRUE(run(command->signal(SIGUSR1, false)));
    drive_until([&] { return sink_->out() == "up\nusr1\n"; });
    EXPECT_TRUE(run(command->signal(SIGUSR1, true)));
    drive_until([&] { return sink_->out() == "up\nusr1\nusr1\n"; });
    EXPECT_FALSE(run(command->signal(999, false)));
    EXPECT_TRUE(run(command->signal(SIGKILL, true)));
    CommandEnd ended = run(command->wait(EndRule::exit_and_eof));
    EXPECT_EQ(ended.exit.status.signal(), SIGKILL);
    EXPECT_TRUE(ended.killed_by_us);
    EXPECT_EQ(run(command->signal(SIGUSR1, false)).error().code, Errc::failed_precondition);
    // A sleep that was started during the look at the tree closes its pipe a moment before it is a zombie.
    Result<> signalled;
    drive_until([&] { return !(signalled = run(command->signal(0, true))); });
    EXPECT_EQ(signalled.error().code, Errc::failed_precondition);
}

}  // namespace
}  // namespace sandbox
