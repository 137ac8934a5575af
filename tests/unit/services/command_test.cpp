#include "services/command.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include <boost/asio/post.hpp>
#include <filesystem>
#include <thread>

#include "support/command_fixture.hpp"
#include "support/folder.hpp"

namespace sandbox {
namespace {

using test::CommandTest;
using test::Folder;
using test::keep_result;
using Clock = std::chrono::steady_clock;

TEST_F(CommandTest, OutputExitCodeAndTheRest) {
    CommandEnd end = complete(shell("echo out; echo err >&2; exit 3"));
    EXPECT_EQ(end.exit.status.code(), 3);
    EXPECT_EQ(sink_->out(), "out\n");
    EXPECT_EQ(sink_->err(), "err\n");
    EXPECT_EQ(sink_->ends(StreamId::stdout_), 1);
    EXPECT_EQ(sink_->ends(StreamId::stderr_), 1);
    EXPECT_FALSE(end.timed_out || end.killed_by_us || end.pipes_open || end.survives);
    EXPECT_GT(end.duration.count(), 0);
    end = complete(shell("ulimit -c 0; kill -SEGV $$"));
    EXPECT_EQ(end.exit.status.signal(), SIGSEGV);
    EXPECT_FALSE(end.killed_by_us);
    EXPECT_EQ(environment_.commands_started, 2U);
    EXPECT_EQ(environment_.output_bytes, 8U);
}

TEST_F(CommandTest, MoreThanAPipeHoldsOnBothStreamsAtOnce) {
    complete(shell("head -c 65537 /dev/zero >&2; echo done"));
    EXPECT_EQ(sink_->err().size(), 65537U);
    EXPECT_EQ(sink_->out(), "done\n");
    auto command = start(shell("seq 1 200000 & seq 200001 400000 >&2 & wait"));
    run(command->wait(EndRule::exit_and_drain));
    std::string out;
    std::string err;
    for (int i = 1; i <= 200'000; ++i) out += std::to_string(i) + "\n";
    for (int i = 200'001; i <= 400'000; ++i) err += std::to_string(i) + "\n";
    EXPECT_TRUE(sink_->out() == out);
    EXPECT_TRUE(sink_->err() == err);
    EXPECT_EQ(command->bytes_out(StreamId::stdout_), out.size());
    EXPECT_EQ(command->bytes_out(StreamId::stderr_), err.size());
}

TEST_F(CommandTest, NoTailIsLostOverManyShortCommands) {
    for (int i = 0; i < 100; ++i) {
        complete(shell("seq 1 2000; echo last >&2"));
        ASSERT_EQ(sink_->out().size(), 8893U);
        ASSERT_EQ(sink_->err(), "last\n");
    }
}

// ---------------------------------------------------------------- the end and the drain

TEST_F(CommandTest, ABackgroundJobDoesNotHoldUpTheEnd) {
    auto before = Clock::now();
    auto command = start(shell("sleep 1000 & echo hi"));
    CommandEnd ended = run(command->wait(EndRule::exit_and_drain));
    EXPECT_LT(Clock::now() - before, std::chrono::seconds(20));
    EXPECT_GE(Clock::now() - before, environment_.drain);
    EXPECT_EQ(sink_->out(), "hi\n");
    EXPECT_TRUE(ended.pipes_open);
    EXPECT_EQ(ended.exit.status.code(), 0);
    EXPECT_EQ(end(command), KillOutcome::gone);
}

// On a loaded machine the loop may come to look only when the drain time is over already.
TEST_F(CommandTest, AStallOfTheLoopIsNoSilence) {
    environment_.drain = Milliseconds(50);
    auto command = start(shell("sleep 0.1"));
    boost::asio::post(loop_, [this] {
        std::this_thread::sleep_for(std::chrono::milliseconds(500));
        reaper_.sweep();
        std::this_thread::sleep_for(environment_.drain * 2);
    });
    EXPECT_FALSE(run(command->wait(EndRule::exit_and_drain)).pipes_open);
}

TEST_F(CommandTest, WhatComesSoonAfterTheExitIsWaitedFor) {
    environment_.drain = Milliseconds(2000);
    CommandEnd end = complete(shell("(sleep 0.2; echo late) & echo hi"));
    EXPECT_EQ(sink_->out(), "hi\nlate\n");
    EXPECT_FALSE(end.pipes_open) << "the job's end closed the pipes before the drain was over";
}

TEST_F(CommandTest, AChattyBackgroundJobDoesNotHoldUpTheEndForEver) {
    environment_.drain = Milliseconds(40);
    auto command = start(shell("while :; do echo x; sleep 0.005; done & echo hi"));
    CommandEnd ended = run(command->wait(EndRule::exit_and_drain));
    EXPECT_TRUE(ended.pipes_open);
    EXPECT_NE(sink_->out().find("hi\n"), std::string::npos);
    end(command);
}

// So slow that the pipe is full again when it is done; keeps what is not of `yes`.
class SlowSink final : public OutputSink {
  public:
    Task<> on_output(StreamId, std::string_view bytes) override {
        if (slow) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        if (!bytes.starts_with('y') && !bytes.starts_with('\n')) kept += bytes;
        co_return;
    }
    Task<> on_end(StreamId) override { co_return; }
    std::string kept;
    bool slow = true;
};

TEST_F(CommandTest, AFloodOfABackgroundJobDoesNotHideTheOtherStream) {
    environment_.drain = Milliseconds(10);
    for (const char* script : {"yes & echo hi >&2", "yes >&2 & echo hi"}) {
        for (const bool late : {false, true}) {
            auto sink = std::make_shared<SlowSink>();
            auto command = start(shell(script), late ? nullptr : sink);
            if (late) {
                drive_until([&] { return command->has_exited(); });
                command->attach_sink(sink);
            }
            CommandEnd ended = run(command->wait(EndRule::exit_and_drain));
            EXPECT_TRUE(ended.pipes_open);
            EXPECT_EQ(sink->kept, "hi\n") << script;
            end(command);
        }
    }
}

TEST_F(CommandTest, ABackgroundJobIsReadOnAndNeverGetsSigpipe) {
    environment_.drain = Milliseconds(10);
    auto command = start(shell("(sleep 0.3; echo a && echo b && echo survived >&2) & echo hi"));
    run(command->wait(EndRule::exit_and_drain));
    EXPECT_EQ(sink_->out(), "hi\n");
    run(command->wait(EndRule::exit_and_eof));
    EXPECT_EQ(sink_->out(), "hi\na\nb\n");
    EXPECT_EQ(sink_->err(), "survived\n");
}

TEST_F(CommandTest, AfterDetachingOutputIsReadAndDropped) {
    environment_.drain = Milliseconds(10);
    // More than a pipe holds: it ends only when somebody reads.
    auto command = start(shell("(sleep 0.2; head -c 300000 /dev/zero; exit 9) & echo hi; wait $!"));
    drive_until([&] { return sink_->out() == "hi\n"; });
    run(command->detach_sink());
    CommandEnd ended = run(command->wait(EndRule::exit_and_eof));
    EXPECT_EQ(ended.exit.status.code(), 9);
    EXPECT_EQ(sink_->out(), "hi\n");
    EXPECT_EQ(sink_.use_count(), 1);
    EXPECT_EQ(command->bytes_out(StreamId::stdout_), 300'003U);
}

TEST_F(CommandTest, DetachingWaitsForADeliveryUnderWay) {
    sink_ = std::make_shared<test::Collector>(loop_);
    sink_->shut();
    auto command = start(shell("echo hi"), sink_);
    drive_until([&] { return sink_->deliveries == 1; });
    std::optional<bool> detached;
    spawn_task(loop_, "detach", test::keep_result(command->detach_sink(), &detached));
    drive_for(Milliseconds(30));
    EXPECT_FALSE(detached);
    sink_->open();
    drive_until([&] { return detached.has_value(); });
    EXPECT_EQ(sink_->out(), "hi\n");
    run(command->wait(EndRule::exit_and_eof));
    EXPECT_EQ(sink_->ends(StreamId::stdout_), 0);
}

TEST_F(CommandTest, ASlowSinkLosesNothingThatWasWrittenBeforeTheExit) {
    Folder folder;
    environment_.drain = Milliseconds(10);
    const std::string flag = folder.path() + "/written";
    CommandSpec spec =
        shell("sleep 1000 & head -c 60000 /dev/zero; touch " + flag + "; read go; head -c 50000 /dev/zero");
    spec.stdin_mode = StdinMode::pipe;
    auto command = start(spec, nullptr);
    drive_until([&] { return std::filesystem::exists(flag); });
    // The sink has the first part in its hands when the leader ends, and the second lies in the pipe.
    sink_ = std::make_shared<test::Collector>(loop_);
    sink_->shut();
    command->attach_sink(sink_);
    drive_until([&] { return sink_->deliveries == 1; });
    EXPECT_TRUE(run(command->write_stdin("go\n")));
    drive_until([&] { return command->has_exited(); });
    std::optional<CommandEnd> ended;
    spawn_task(loop_, "wait", keep_result(command->wait(EndRule::exit_and_drain), &ended));
    drive_for(Milliseconds(300));
    EXPECT_FALSE(ended);
    sink_->let_pass(1);
    drive_until([&] { return sink_->out().size() == 60'000; });
    drive_for(Milliseconds(300));
    EXPECT_FALSE(ended) << "the second part is still to come";
    sink_->open();
    drive_until([&] { return ended.has_value(); });
    EXPECT_EQ(sink_->out().size(), 110'000U);
    EXPECT_TRUE(ended->pipes_open);
    end(command);
}

TEST_F(CommandTest, ASlowSinkHoldsUpTheCommand) {
    sink_ = std::make_shared<test::Collector>(loop_);
    sink_->shut();
    auto command = start(shell("head -c 1000000 /dev/zero"), sink_);
    drive_for(Milliseconds(200));
    EXPECT_FALSE(command->has_exited());
    EXPECT_EQ(sink_->deliveries, 1);
    sink_->open();
    run(command->wait(EndRule::exit_and_drain));
    EXPECT_EQ(sink_->out().size(), 1'000'000U);
}

TEST_F(CommandTest, OnlySomeOfThoseWhoFillTheirPipesGetLargeOnes) {
    auto sink = std::make_shared<SlowSink>();
    sink->slow = false;  // They are many: it is slow enough.
    std::vector<std::shared_ptr<Command>> commands;
    for (int i = 0; i < 17; ++i) commands.push_back(start(shell("yes & exec yes >&2"), sink));
    drive_until([&] { return environment_.large_pipes == 32; });
    drive_for(std::chrono::milliseconds(100));
    EXPECT_EQ(environment_.large_pipes, 32U);
    for (const auto& command : commands) command->start_terminating(Milliseconds(0));
    for (const auto& command : commands) run(command->wait(EndRule::exit_and_eof));
    EXPECT_EQ(environment_.large_pipes, 0U);
}

TEST_F(CommandTest, WhoWritesLittleKeepsHisPipe) {
    EXPECT_EQ(output_of(shell("head -c 60000 /dev/zero")).size(), 60'000U);
    EXPECT_EQ(environment_.large_pipes, 0U);
}

TEST_F(CommandTest, ASinkMayComeLater) {
    auto command = start(shell("echo early; echo err >&2"), nullptr);
    drive_until([&] { return command->has_exited(); });
    sink_ = std::make_shared<test::Collector>(loop_);
    command->attach_sink(sink_);
    run(command->wait(EndRule::exit_and_eof));
    EXPECT_EQ(sink_->out(), "early\n");
    EXPECT_EQ(sink_->err(), "err\n");
}

TEST_F(CommandTest, ACommandThatNobodyHoldsGoesOn) {
    auto command = start(shell("sleep 0.1; echo done"));
    std::weak_ptr<Command> weak = command;
    command.reset();
    EXPECT_FALSE(weak.expired());
    drive_until([&] { return weak.expired(); });
    EXPECT_EQ(sink_->out(), "done\n");
    EXPECT_EQ(sink_->ends(StreamId::stdout_), 1);
}

TEST_F(CommandTest, AKillIsOneForMemoryIfTheKernelKilledSomebodyMeanwhile) {
    Folder folder;
    const std::string events = folder.file("memory.events", "oom_kill 1\n", 0644);
    OomKills kills(events);
    environment_.oom_kills = &kills;
    auto ends = [&](const std::string& script, bool counted) {
        std::ofstream(events) << "oom_kill " << kills.now() << "\n";
        const std::string count = "echo oom_kill " + std::to_string(kills.now() + 1) + " > " + events + "; ";
        return complete(shell((counted ? count : "") + script)).oom_killed;
    };
    EXPECT_TRUE(ends("kill -9 $$", true));
    EXPECT_FALSE(ends("kill -9 $$", false));
    EXPECT_TRUE(ends("exit 137", true));
    EXPECT_FALSE(ends("exit 137", false));
    EXPECT_FALSE(ends("kill -TERM $$", true));
    kills.now();
    EXPECT_FALSE(ends("exit 0", true));
    kills.now();
    auto command = start(shell("echo oom_kill 99 > " + events + "; exec sleep 1000"));
    drive_until([&] { return kills.now() == 99; });
    run(command->signal(SIGKILL, false));
    CommandEnd end = run(command->wait(EndRule::exit_and_drain));
    EXPECT_EQ(end.exit.status.code(), 137);
    EXPECT_FALSE(end.oom_killed) << "the kill was ours";
}

TEST_F(CommandTest, ManyAtOnce) {
    constexpr int kCommands = 150;
    std::vector<std::shared_ptr<test::Collector>> sinks;
    std::vector<std::optional<Started>> started(kCommands);
    for (int i = 0; i < kCommands; ++i) {
        sinks.push_back(std::make_shared<test::Collector>(loop_));
        CommandSpec spec = shell("echo " + std::to_string(i) + "; exit " + std::to_string(i));
        spawn_task(loop_, "start",
                   keep_result(Command::start(environment_, std::move(spec), sinks.back()),
                               &started[static_cast<std::size_t>(i)]));
    }
    for (int i = 0; i < kCommands; ++i) {
        auto& slot = started[static_cast<std::size_t>(i)];
        drive_until([&] { return slot.has_value(); });
        ASSERT_TRUE(*slot);
        EXPECT_EQ(run((**slot)->wait(EndRule::exit_and_eof)).exit.status.code(), i);
        EXPECT_EQ(sinks[static_cast<std::size_t>(i)]->out(), std::to_string(i) + "\n");
    }
}

}  // namespace
}  // namespace sandbox
