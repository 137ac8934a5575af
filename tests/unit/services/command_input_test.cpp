#include "services/command.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include "support/command_fixture.hpp"
#include "support/folder.hpp"

namespace sandbox {
namespace {

using test::CommandTest;
using test::Folder;

Task<> write_text(std::shared_ptr<Command> command, std::string text, std::optional<Result<>>& result) {
    result.emplace(co_await command->write_stdin(std::move(text)));
}

TEST_F(CommandTest, StdinIsEmptyUnlessAskedFor) {
    EXPECT_EQ(complete(shell("cat; echo over")).exit.status.code(), 0);
    EXPECT_EQ(sink_->out(), "over\n");
    auto command = start(shell("sleep 0.1"));
    EXPECT_FALSE(command->stdin_open());
    EXPECT_EQ(run(command->write_stdin("x")).error().code, Errc::failed_precondition);
    run(command->wait(EndRule::exit_and_eof));
}

TEST_F(CommandTest, StdinTakesAnyAmountInOrder) {
    CommandSpec spec = argv({"cat"});
    spec.stdin_mode = StdinMode::pipe;
    auto command = start(spec);
    std::vector<std::optional<Result<>>> results(4);
    std::string expected;
    for (std::size_t i = 0; i < results.size(); ++i) {
        std::string text(300'000, static_cast<char>('a' + i));
        expected += text;
        spawn_task(loop_, "writer", write_text(command, text, results[i]));
    }
    for (auto& result : results) {
        drive_until([&] { return result.has_value(); });
        EXPECT_TRUE(*result);
    }
    EXPECT_TRUE(command->stdin_open());
    EXPECT_TRUE(command->close_stdin());
    EXPECT_FALSE(command->stdin_open());
    EXPECT_EQ(run(command->wait(EndRule::exit_and_eof)).exit.status.code(), 0);
    EXPECT_TRUE(sink_->out() == expected) << sink_->out().size();
    EXPECT_EQ(run(command->write_stdin("x")).error().code, Errc::failed_precondition);
}

Task<> write_spool(std::shared_ptr<Command> command, Spool& bytes, std::uint64_t& done,
                   std::optional<Result<>>& result) {
    result.emplace(co_await command->write_stdin(bytes, done));
}

TEST_F(CommandTest, WhatOneWriterSendsStaysTogether) {
    CommandSpec spec = argv({"cat"});
    spec.stdin_mode = StdinMode::pipe;
    auto command = start(spec);
    SpillDir directory("", "");
    std::vector<std::unique_ptr<Spool>> spools;
    std::vector<std::optional<Result<>>> results(3);
    std::vector<std::uint64_t> done(results.size());
    std::string expected;
    for (std::size_t i = 0; i < results.size(); ++i) {
        std::string text(500'000, static_cast<char>('a' + i));
        expected += text;
        spools.push_back(std::make_unique<Spool>(work_pool_, directory, 1000));
        EXPECT_TRUE(run(spools.back()->append(text)));
    }
    for (std::size_t i = 0; i < results.size(); ++i) {
        spawn_task(loop_, "writer", write_spool(command, *spools[i], done[i], results[i]));
    }
    for (auto& result : results) drive_until([&] { return result.has_value(); });
    EXPECT_TRUE(command->close_stdin());
    EXPECT_EQ(run(command->wait(EndRule::exit_and_eof)).exit.status.code(), 0);
    EXPECT_TRUE(sink_->out() == expected);
    EXPECT_EQ(done, (std::vector<std::uint64_t>{500'000, 500'000, 500'000}));
}

TEST_F(CommandTest, StdinEndsBehindWhatIsStillBeingWritten) {
    Folder folder;
    const std::string flag = folder.path() + "/flag";
    CommandSpec spec = shell("until [ -e " + flag + " ]; do sleep 0.01; done; wc -c");
    spec.stdin_mode = StdinMode::pipe;
    auto command = start(spec);
    std::vector<std::optional<Result<>>> results(3);
    for (auto& result : results)
        spawn_task(loop_, "writer", write_text(command, std::string(300'000, 'x'), result));
    loop_.restart();
    loop_.poll();  // One of them has filled the pipe, the others wait.
    EXPECT_FALSE(results[0] || results[1] || results[2]);
    EXPECT_TRUE(command->close_stdin());
    EXPECT_FALSE(command->stdin_open());
    EXPECT_EQ(run(command->write_stdin("late")).error().code, Errc::failed_precondition);
    folder.file("flag", "", 0644);
    for (auto& result : results) {
        drive_until([&] { return result.has_value(); });
        EXPECT_TRUE(*result);
    }
    EXPECT_EQ(run(command->wait(EndRule::exit_and_eof)).exit.status.code(), 0);
    EXPECT_EQ(sink_->out(), "900000\n");
}

TEST_F(CommandTest, APlaceInTheLineHoldsWhatComesLater) {
    CommandSpec spec = argv({"cat"});
    spec.stdin_mode = StdinMode::pipe;
    auto command = start(spec);
    SpillDir directory("", "");
    Spool first(work_pool_, directory, 1000);
    std::optional<Result<>> second;
    {
        const Command::InputPlace place(command);
        spawn_task(loop_, "writer", write_text(command, "second", second));
        loop_.restart();
        loop_.poll();  // It has been posted, and stands in line now.
        EXPECT_TRUE(run(first.append("first ")));
        EXPECT_TRUE(command->close_stdin());
        const Command::InputPlace late(command);
        std::uint64_t done = 0;
        EXPECT_FALSE(run(command->write_stdin(late, first, done)));
        EXPECT_FALSE(second);
        EXPECT_TRUE(run(command->write_stdin(place, first, done)));
        EXPECT_EQ(done, 6U);
    }
    drive_until([&] { return second.has_value(); });
    EXPECT_TRUE(*second);
    EXPECT_EQ(run(command->wait(EndRule::exit_and_eof)).exit.status.code(), 0);
    EXPECT_EQ(sink_->out(), "first second");
}

// Of the thousand ended processes that are remembered none may cost a descriptor.
TEST_F(CommandTest, StdinIsGivenUpWithTheEnd) {
    CommandSpec spec = shell("echo over");
    spec.stdin_mode = StdinMode::pipe;
    auto command = start(spec);
    run(command->wait(EndRule::exit_and_eof));
    EXPECT_FALSE(command->stdin_open());
    EXPECT_EQ(run(command->write_stdin("late")).error().code, Errc::failed_precondition);

    // A background job that still has the pipes can still be written to.
    spec = shell("exec 3<&0; (read line <&3; echo got $line) &");
    spec.stdin_mode = StdinMode::pipe;
    command = start(spec);
    run(command->wait(EndRule::exit_and_drain));
    EXPECT_TRUE(command->stdin_open());
    EXPECT_TRUE(run(command->write_stdin("this\n")));
    run(command->wait(EndRule::exit_and_eof));
    EXPECT_FALSE(command->stdin_open());
    EXPECT_EQ(sink_->out(), "got this\n");
}

TEST_F(CommandTest, ACommandThatDoesNotReadHoldsUpItsWriterUntilItEnds) {
    CommandSpec spec = shell("exec sleep 1000");
    spec.stdin_mode = StdinMode::pipe;
    auto command = start(spec);
    std::optional<Result<>> first;
    std::optional<Result<>> second;
    spawn_task(loop_, "writer", write_text(command, std::string(1'000'000, 'x'), first));
    spawn_task(loop_, "writer", write_text(command, "next", second));
    drive_for(Milliseconds(50));
    EXPECT_FALSE(first || second);
    end(command);
    drive_until([&] { return first && second; });
    EXPECT_EQ(first->error().sys_errno, EPIPE);
    EXPECT_FALSE(*second);
}

TEST_F(CommandTest, ATerminal) {
    CommandSpec spec =
        shell("tty; stty size; read line; stty size; echo \"got $line\" >/dev/tty; sleep 1000");
    spec.pty = PtySize{100, 40};
    auto command = start(spec);
    EXPECT_TRUE(command->has_pty());
    drive_until([&] { return sink_->terminal().find("40 100\r\n") != std::string::npos; });
    EXPECT_EQ(sink_->terminal().substr(0, 9), "/dev/pts/");
    PtySize larger{120, 50};
    EXPECT_TRUE(command->resize(larger));
    EXPECT_FALSE(command->close_stdin());
    EXPECT_TRUE(run(command->write_stdin("hello\n")));
    drive_until([&] { return sink_->terminal().find("got hello\r\n") != std::string::npos; });
    EXPECT_NE(sink_->terminal().find("50 120\r\n"), std::string::npos);
    // Again and again: dash forgets an interrupt that comes just before it waits for its child.
    while (!command->has_exited()) {
        run(command->write_stdin("\x03"));
        drive_for(std::chrono::milliseconds(20));
    }
    CommandEnd ended = run(command->wait(EndRule::exit_and_eof));
    EXPECT_EQ(ended.exit.status.signal(), SIGINT);
    EXPECT_EQ(sink_->ends(StreamId::pty), 1);
    EXPECT_EQ(sink_->ends(StreamId::stdout_), 0);
    EXPECT_FALSE(command->resize(larger));
    EXPECT_FALSE(run(command->write_stdin("x")));
    EXPECT_TRUE(sink_->out().empty() && sink_->err().empty());
}

TEST_F(CommandTest, ATerminalsWholeOutputArrives) {
    for (int i = 0; i < 20; ++i) {
        CommandSpec spec = shell("seq 1 20000");
        spec.pty.emplace();
        complete(spec);
        ASSERT_EQ(sink_->terminal().size(), 108'894U + 20'000U) << "round " << i;
    }
}

}  // namespace
}  // namespace sandbox
