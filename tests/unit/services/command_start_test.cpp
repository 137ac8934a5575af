#include "services/command.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <future>

#include "support/command_fixture.hpp"
#include "support/folder.hpp"

namespace sandbox {
namespace {

using test::CommandTest;
using test::Folder;
using test::keep_result;
using Clock = std::chrono::steady_clock;

// All threads of the pool are stuck, as in a hung file system.
TEST_F(CommandTest, AStartThatIsStuckCanBeLeft) {
    std::promise<void> end_of_hang;
    const std::shared_future<void> hang = end_of_hang.get_future().share();
    for (int i = 0; i < 8; ++i) spawn_pool_.post([hang] { hang.wait(); });
    Folder folder;
    CommandSpec spec = shell("touch " + folder.path() + "/ran");
    spec.timeout = Milliseconds(50);
    const auto before = Clock::now();
    EXPECT_EQ(start_failure(spec).kind, CommandError::Kind::timed_out);
    EXPECT_GE(Clock::now() - before, spec.timeout);

    spec.timeout = Milliseconds(0);
    PendingStart pending;
    std::optional<Started> left;
    std::optional<Started> stayed;
    spawn_task(loop_, "start",
               keep_result(Command::start(environment_, spec, nullptr, StartRule::at_once, &pending), &left));
    spec.shell_command = "exit 3";
    spawn_task(loop_, "start", keep_result(Command::start(environment_, spec, nullptr), &stayed));
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
    EXPECT_FALSE(std::filesystem::exists(folder.path() + "/ran"));
    pending.give_up();  // Nothing is left to give up.
}

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
    folder.file("tool", "#!/bin/sh\necho tool $PWD\n", 0755);
    CommandSpec spec = argv({"tool"});
    spec.env = {{"PATH", "/nowhere:" + folder.path()}};
    EXPECT_EQ(output_of(spec).substr(0, 5), "tool ");
    spec = argv({"./tool"});
    spec.cwd = folder.path();
    EXPECT_EQ(output_of(spec), "tool " + folder.path() + "\n");
    spec = shell("pwd; echo $PWD");
    spec.cwd = folder.path();
    EXPECT_EQ(output_of(spec), folder.path() + "\n" + folder.path() + "\n");
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
    ::chmod(folder.path().c_str(), 0700);
    CommandSpec spec = shell("echo never");
    spec.cwd = folder.path();
    spec.user = "nobody";
    CommandError error = start_failure(spec);
    EXPECT_EQ(error.kind, CommandError::Kind::not_started);
    EXPECT_EQ(error.error.message, "chdir " + folder.path() + ": permission denied");
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
    std::filesystem::create_symlink("/bin/sh", folder.path() + "/sh");
    environment_.base_env = {{"PATH", folder.path() + ":/usr/bin:/bin"}, {"BASE", "base"}};
    complete(shell("true"));
    EXPECT_EQ(environment_.shell.known(), folder.path() + "/sh");

    CommandSpec spec = shell("echo $BASE $MORE; exit 4");
    spec.env = {{"MORE", "more"}};
    CommandEnd end = complete_at_end(spec);
    EXPECT_EQ(sink_->out(), "base more\n");
    EXPECT_EQ(end.exit.status.code(), 4);
    EXPECT_FALSE(end.not_started);

    std::filesystem::remove(folder.path() + "/sh");
    end = complete_at_end(shell("true"));
    ASSERT_TRUE(end.not_started);
    EXPECT_EQ(end.not_started->message, "exec " + folder.path() + "/sh: no such file or directory");

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
