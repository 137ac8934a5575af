#include "services/command.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <boost/asio/post.hpp>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "support/command_fixture.hpp"

namespace sandbox {
namespace {

using Clock = std::chrono::steady_clock;

class CommandTest : public test::CommandTest {
  protected:
    // Ends what a test has left running.
    KillOutcome end(const std::shared_ptr<Command>& command) {
        KillOutcome outcome = run(command->terminate(Milliseconds(0)));
        run(command->wait(EndRule::exit_and_eof));
        return outcome;
    }
};

class Folder {
  public:
    Folder() {
        char name[] = "/tmp/command-test-XXXXXX";
        path = ::mkdtemp(name);
        ::chmod(path.c_str(), 0755);
        std::ofstream(path + "/tool") << "#!/bin/sh\necho tool $PWD\n";
        ::chmod((path + "/tool").c_str(), 0755);
    }
    ~Folder() { std::filesystem::remove_all(path); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    std::string path;
};

template <class T>
Task<> keep(Task<T> task, std::optional<T>& result) {
    result.emplace(co_await std::move(task));
}

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
    const std::string flag = folder.path + "/written";
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
    spawn_task(loop_, "wait", keep(command->wait(EndRule::exit_and_drain), ended));
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

TEST_F(CommandTest, ManyAtOnce) {
    constexpr int kCommands = 150;
    std::vector<std::shared_ptr<test::Collector>> sinks;
    std::vector<std::optional<Started>> started(kCommands);
    for (int i = 0; i < kCommands; ++i) {
        sinks.push_back(std::make_shared<test::Collector>(loop_));
        CommandSpec spec = shell("echo " + std::to_string(i) + "; exit " + std::to_string(i));
        spawn_task(loop_, "start",
                   keep(Command::start(environment_, std::move(spec), sinks.back()),
                        started[static_cast<std::size_t>(i)]));
    }
    for (int i = 0; i < kCommands; ++i) {
        auto& slot = started[static_cast<std::size_t>(i)];
        drive_until([&] { return slot.has_value(); });
        ASSERT_TRUE(*slot);
        EXPECT_EQ(run((**slot)->wait(EndRule::exit_and_eof)).exit.status.code(), i);
        EXPECT_EQ(sinks[static_cast<std::size_t>(i)]->out(), std::to_string(i) + "\n");
    }
}

// All threads of the pool are stuck, as in a hung file system.
TEST_F(CommandTest, AStartThatIsStuckCanBeLeft) {
    std::promise<void> end_of_hang;
    const std::shared_future<void> hang = end_of_hang.get_future().share();
    for (int i = 0; i < 8; ++i) spawn_pool_.post([hang] { hang.wait(); });
    Folder folder;
    CommandSpec spec = shell("touch " + folder.path + "/ran");
    spec.timeout = Milliseconds(50);
    const auto before = Clock::now();
    EXPECT_EQ(start_failure(spec).kind, CommandError::Kind::timed_out);
    EXPECT_GE(Clock::now() - before, spec.timeout);

    spec.timeout = Milliseconds(0);
    PendingStart pending;
    std::optional<Started> left;
    std::optional<Started> stayed;
    spawn_task(loop_, "start",
               keep(Command::start(environment_, spec, nullptr, StartRule::at_once, &pending), left));
    spec.shell_command = "exit 3";
    spawn_task(loop_, "start", keep(Command::start(environment_, spec, nullptr), stayed));
    drive_for(Milliseconds(20));
    EXPECT_FALSE(left || stayed);
    pending.give_up();
    drive_until([&] { return left.has_value(); });
    EXPECT_EQ(left->error().kind, CommandError::Kind::given_up);

    end_of_hang.set_value();
    drive_until([&] { return stayed.has_value(); });
    ASSERT_TRUE(*stayed);
    EXPECT_EQ(run((**stayed)->wait_exit()).exit.status.code(), 3);
    EXPECT_EQ(environment_.commands_started, 1U);
    EXPECT_FALSE(std::filesystem::exists(folder.path + "/ran"));
    pending.give_up();  // Nothing is left to give up.
}

// ---------------------------------------------------------------- ending a tree

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

TEST_F(CommandTest, ASecondEndJoinsTheFirstAndMayShortenIt) {
    auto command = start(shell("trap '' TERM; echo up; sleep 1000"));
    drive_until([&] { return sink_->out() == "up\n"; });
    std::optional<KillOutcome> first;
    std::optional<KillOutcome> longer;
    spawn_task(loop_, "first", keep(command->terminate(Milliseconds(100'000)), first));
    spawn_task(loop_, "longer", keep(command->terminate(Milliseconds(200'000)), longer));
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
    EXPECT_FALSE(ended.killed_by_us);
    EXPECT_EQ(run(command->signal(SIGUSR1, false)).error().code, Errc::failed_precondition);
    // A sleep that was started during the look at the tree closes its pipe a moment before it is a zombie.
    Result<> signalled;
    drive_until([&] { return !(signalled = run(command->signal(0, true))); });
    EXPECT_EQ(signalled.error().code, Errc::failed_precondition);
}

// ---------------------------------------------------------------- input and terminals

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

// ---------------------------------------------------------------- what is started, and how

TEST_F(CommandTest, ArgumentsRunWithoutAShell) {
    EXPECT_EQ(output_of(argv({"printf", "%s|", "a b", "$HOME", "", "*"})), "a b|$HOME||*|");
    CommandError error = start_failure(argv({"no-such-program"}));
    EXPECT_EQ(error.kind, CommandError::Kind::not_started);
    EXPECT_EQ(error.error.message, "exec no-such-program: executable file not found in PATH");
    error = start_failure(argv({"/etc/passwd"}));
    EXPECT_EQ(error.error.message, "exec /etc/passwd: permission denied");
    error = start_failure(argv({"echo", std::string(200'000, 'x')}));
    EXPECT_NE(error.error.message.find("argument list too long"), std::string::npos) << error.error.message;
}

TEST_F(CommandTest, TheCommandsOwnPathAndDirectoryCount) {
    Folder folder;
    CommandSpec spec = argv({"tool"});
    spec.env = {{"PATH", "/nowhere:" + folder.path}};
    EXPECT_EQ(output_of(spec).substr(0, 5), "tool ");
    spec = argv({"./tool"});
    spec.cwd = folder.path;
    EXPECT_EQ(output_of(spec), "tool " + folder.path + "\n");
    spec = shell("pwd; echo $PWD");
    spec.cwd = folder.path;
    EXPECT_EQ(output_of(spec), folder.path + "\n" + folder.path + "\n");
}

TEST_F(CommandTest, DirectoriesThatCannotBeEntered) {
    for (std::string cwd : {std::string("/no/such"), std::string("/etc/passwd"), std::string("/tmp\0x", 6)}) {
        CommandSpec spec = shell("echo never");
        spec.cwd = cwd;
        CommandError error = start_failure(spec);
        EXPECT_EQ(error.kind, CommandError::Kind::bad_cwd);
        EXPECT_EQ(error.error.message, "Invalid working directory: " + cwd);
    }
    if (::geteuid() != 0) return;
    Folder folder;
    ::chmod(folder.path.c_str(), 0700);
    CommandSpec spec = shell("echo never");
    spec.cwd = folder.path;
    spec.user = "nobody";
    CommandError error = start_failure(spec);
    EXPECT_EQ(error.kind, CommandError::Kind::not_started);
    EXPECT_EQ(error.error.message, "chdir " + folder.path + ": permission denied");
}

TEST_F(CommandTest, Environments) {
    CommandSpec spec = shell("echo $BASE $A $B; env | grep -c ^SANDBOX_COMMAND_ID=");
    spec.env = {{"A", "1"}, {"A", "2"}, {"B", "x y"}};
    EXPECT_EQ(output_of(spec), "base 2 x y\n1\n");
    spec.env.emplace_back("BASE", "own");
    EXPECT_EQ(output_of(spec), "own 2 x y\n1\n");
    spec = argv({"/usr/bin/env"});
    spec.clean_env = true;
    spec.env = {{"ONLY", "this"}};
    std::string text = output_of(spec);
    EXPECT_EQ(text.substr(0, text.find("SANDBOX_COMMAND_ID=")), "ONLY=this\n");
    spec.env = {{"A", std::string("b\0c", 3)}};
    EXPECT_EQ(start_failure(spec).error.code, Errc::invalid_argument);
}

TEST_F(CommandTest, CommandsOfAnyLength) {
    const std::string filler = ": " + std::string(300'000, 'x') + "; ";
    EXPECT_EQ(complete(shell(filler + "echo $0 end; exit 7")).exit.status.code(), 7);
    EXPECT_EQ(sink_->out(), "sh end\n");
    EXPECT_EQ(output_of(shell(filler + "cat; ls /proc/self/fd")), "0\n1\n2\n3\n") << "the last is of ls";
    for (std::size_t size : {131'069U, 131'070U, 131'071U, 131'072U, 131'073U}) {
        std::string command = "echo ok #";
        command.resize(size, '#');
        EXPECT_EQ(output_of(shell(command)), "ok\n") << size;
    }
    EXPECT_EQ(start_failure(shell(filler + std::string("\0", 1))).error.message,
              "exec: argument contains NUL");
    if (::geteuid() != 0) return;
    CommandSpec spec = shell(filler + "id -un");
    spec.user = "nobody";
    EXPECT_EQ(output_of(spec), "nobody\n");
}

TEST_F(CommandTest, VariablesOfAnyLength) {
    std::string value = "a'b\"c$d`e\\f\n";
    while (value.size() < 200'000) value += value;
    CommandSpec spec = shell("printf '%s' \"$BIG\"; printf '%s' \"$SMALL\" >&2");
    spec.env = {{"BIG", value}, {"SMALL", "s"}};
    EXPECT_TRUE(output_of(spec) == value);
    EXPECT_EQ(sink_->err(), "s");
    spec = shell("echo ok");
    spec.env = {{"NOT.A-NAME", value}, {"", value}, {"1X", value}};
    EXPECT_EQ(output_of(spec), "ok\n");
    EXPECT_EQ(sink_->err().substr(0, 100), "") << "what a shell cannot have as a variable is left out";
    spec = shell("echo $((${#V0} + ${#V99}))");
    for (int i = 0; i < 100; ++i) spec.env.emplace_back("V" + std::to_string(i), std::string(10'000, 'v'));
    EXPECT_EQ(output_of(spec), "20000\n");
}

TEST_F(CommandTest, OtherUsers) {
    CommandSpec spec =
        shell("id -un; echo $HOME $USER $LOGNAME; echo again >/dev/stdout; echo err >/dev/stderr");
    spec.user = "no-such-user";
    CommandError error = start_failure(spec);
    EXPECT_EQ(error.kind, CommandError::Kind::bad_user);
    EXPECT_EQ(error.error.message, "unknown user no-such-user");
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    spec.user = "nobody";
    EXPECT_EQ(output_of(spec), "nobody\n/nonexistent nobody nobody\nagain\n");
    EXPECT_EQ(sink_->err(), "err\n");
    spec.user = "65534";
    EXPECT_EQ(output_of(spec).substr(0, 7), "nobody\n");
    spec.env = {{"HOME", "/mine"}};
    EXPECT_NE(output_of(spec).find("/mine nobody"), std::string::npos);
    spec.pty.emplace();
    complete(spec);
    EXPECT_NE(sink_->terminal().find("again\r\nerr\r\n"), std::string::npos) << sink_->terminal();
}

TEST_F(CommandTest, AFailedStartLeavesTheReaperAsItWas) {
    for (int i = 0; i < 20; ++i) {
        start_failure(argv({"/etc/passwd"}));
        EXPECT_EQ(complete(shell("exit 5")).exit.status.code(), 5);
    }
    EXPECT_EQ(reaper_.watched(), 0U);
}

TEST_F(CommandTest, AStartThatMayBeToldAtTheEnd) {
    auto complete_at_end = [this](CommandSpec spec) {
        sink_ = std::make_shared<test::Collector>(loop_);
        Started started = run(Command::start(environment_, std::move(spec), sink_, StartRule::at_the_end));
        EXPECT_TRUE(started) << started.error().error.message;
        return run((*started)->wait(EndRule::exit_and_drain));
    };
    Folder folder;
    std::filesystem::create_symlink("/bin/sh", folder.path + "/sh");
    environment_.base_env = {{"PATH", folder.path + ":/usr/bin:/bin"}, {"BASE", "base"}};
    complete(shell("true"));
    EXPECT_EQ(environment_.shell.known(), folder.path + "/sh");

    CommandSpec spec = shell("echo $BASE $MORE; exit 4");
    spec.env = {{"MORE", "more"}};
    CommandEnd end = complete_at_end(spec);
    EXPECT_EQ(sink_->out(), "base more\n");
    EXPECT_EQ(end.exit.status.code(), 4);
    EXPECT_FALSE(end.not_started);

    std::filesystem::remove(folder.path + "/sh");
    end = complete_at_end(shell("true"));
    ASSERT_TRUE(end.not_started);
    EXPECT_EQ(end.not_started->message, "exec " + folder.path + "/sh: no such file or directory");

    end = complete_at_end(shell("echo another shell"));
    EXPECT_FALSE(end.not_started);
    EXPECT_EQ(sink_->out(), "another shell\n");
}

// Its pipes are read from the first look at it on, or at its end.
TEST_F(CommandTest, ALaunchedCommandLosesNothingHoweverLongItTakes) {
    complete(shell("true"));
    struct {
        const char* script;
        std::size_t out;
        const char* err;
        bool pipes_open;
    } cases[] = {{"seq 1 2000; echo last >&2", 8893, "last\n", false},
                 {"head -c 1000000 /dev/zero", 1'000'000, "", false},
                 {"echo a; sleep 0.05; echo b; echo c >&2", 4, "c\n", false},
                 {"exec >&-; sleep 0.05; echo late >&2", 0, "late\n", false},
                 {"sleep 1000 & echo hi", 3, "", true}};
    for (const auto& expected : cases) {
        for (int i = 0; i < 10; ++i) {
            auto sink = std::make_shared<test::Collector>(loop_);
            Started started =
                run(Command::start(environment_, shell(expected.script), sink, StartRule::at_the_end));
            ASSERT_TRUE(started);
            CommandEnd ended = run((*started)->wait(EndRule::exit_and_drain));
            EXPECT_EQ(sink->out().size(), expected.out) << expected.script;
            EXPECT_EQ(sink->err(), expected.err) << expected.script;
            EXPECT_EQ(ended.pipes_open, expected.pipes_open) << expected.script;
            if (expected.pipes_open) end(*started);
        }
    }
}

TEST_F(CommandTest, ALaunchedCommandThatIsEndedAtOnceHasItsSigterm) {
    complete(shell("true"));
    for (int i = 0; i < 20; ++i) {
        auto sink = std::make_shared<test::Collector>(loop_);
        Started started = run(Command::start(environment_, shell("sleep 1000"), sink, StartRule::at_the_end));
        ASSERT_TRUE(started);
        (*started)->start_terminating(Milliseconds(60'000));
        CommandEnd end = run((*started)->wait(EndRule::exit_and_eof));
        EXPECT_EQ(end.exit.status.signal(), SIGTERM);
    }
}

}  // namespace
}  // namespace sandbox
