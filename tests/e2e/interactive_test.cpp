// Input while a command runs, terminals, and watches: the library in both forms, and the command line.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <koyeb/sandbox/async_sandbox.hpp>
#include <thread>

#include "terminal.hpp"

using namespace koyeb::sandbox;
namespace asio = boost::asio;
using e2e::daemon;
using e2e::eventually;
using e2e::Program;
using e2e::Terminal;

namespace {

void rethrow(std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
}

ExecOptions with_input() {
    ExecOptions options;
    options.open_stdin = true;
    options.timeout = Seconds{0};
    return options;
}

// ---- the library

TEST(Input, RunsBesideTheOutputAndEnds) {
    Sandbox sandbox = e2e::connect();
    CommandStream cat = sandbox.exec_stream("cat; echo end >&2; exit 3", with_input());
    EXPECT_EQ(cat.id().size(), 36U);
    EXPECT_GT(cat.pid(), 1);
    for (const std::string line : {"one\n", "two\n"}) {
        cat.write(line);
        EXPECT_EQ(cat.next()->data, line);
    }
    cat.close_stdin();
    const auto last = cat.next();
    ASSERT_TRUE(last);
    EXPECT_EQ(last->stream, Stream::err);
    EXPECT_FALSE(cat.next());
    EXPECT_EQ(cat.end().exit_code, 3);
    EXPECT_THROW(cat.write("late"), SandboxServiceError);
    EXPECT_THROW(sandbox.exec("cat", with_input()), SandboxError) << "nobody could write to it";
    EXPECT_THROW(sandbox.exec_stream("cat").write("x"), SandboxError);
}

TEST(Input, ExactBytesFromAnotherThread) {
    Sandbox sandbox = e2e::connect();
    const std::string bytes = e2e::random_bytes(3'000'000);
    CommandStream cat = sandbox.exec_stream("cat", with_input());
    std::thread writer([&] {
        for (std::size_t at = 0; at < bytes.size(); at += 300'000) cat.write(bytes.substr(at, 300'000));
        cat.close_stdin();
    });
    std::string back;
    while (const auto event = cat.next()) back += event->data;
    writer.join();
    EXPECT_TRUE(back == bytes);
}

TEST(Input, DroppingTheStreamEndsTheCommand) {
    Sandbox sandbox = e2e::connect();
    {
        CommandStream cat = sandbox.exec_stream("setsid sleep 1000 & cat", with_input());
        EXPECT_TRUE(eventually([] { return daemon().offspring().size() >= 2; }));
    }
    EXPECT_TRUE(eventually([] { return daemon().offspring().empty(); }));
}

TEST(Pty, SizeInputAndEnd) {
    Sandbox sandbox = e2e::connect();
    PtyOptions options;
    options.size = {91, 33};
    options.env = {{"A", "from here"}};
    options.cwd = "/tmp";
    CommandStream shell = sandbox.pty(
        "stty -echo; stty size; pwd; echo $A $TERM; read -r x; stty size; echo got $x; exit 9", options);
    std::string shown;
    const auto expect = [&](const std::string& text) {
        while (shown.find(text) == std::string::npos) {
            const auto event = shell.next();
            ASSERT_TRUE(event) << shown;
            EXPECT_EQ(event->stream, Stream::out);
            shown += event->data;
        }
    };
    expect("33 91\r\n/tmp\r\nfrom here xterm-256color\r\n");
    shell.resize({100, 40});
    shell.write("typed\n");
    expect("40 100\r\ngot typed\r\n");
    EXPECT_FALSE(shell.next());
    EXPECT_EQ(shell.end().exit_code, 9);
    CommandStream pipe = sandbox.exec_stream("cat", with_input());
    EXPECT_THROW(pipe.resize({100, 40}), SandboxServiceError) << "no terminal";
}

Awaitable<> talk(AsyncSandbox sandbox, bool& done) {
    PtyOptions options;
    options.args = {"cat"};
    AsyncCommandStream cat = co_await sandbox.pty("", std::move(options));
    co_await cat.write("hello\n");
    std::string shown;
    while (shown != "hello\r\nhello\r\n") {  // the echo, and cat
        const auto event = co_await cat.next();
        if (!event) co_return;
        shown += event->data;
    }
    co_await cat.write("\x04");
    while (co_await cat.next()) {
    }
    done = cat.end().exit_code == 0;
}

TEST(Pty, Async) {
    asio::io_context context(1);
    bool done = false;
    asio::co_spawn(context, talk(AsyncSandbox::connect(context.get_executor(), daemon().info()), done),
                   rethrow);
    context.run();
    EXPECT_TRUE(done);
}

std::string told(const FileEvent& event) {
    static constexpr const char* kNames[] = {"create", "write", "remove", "rename", "chmod"};
    return kNames[static_cast<std::size_t>(event.type)] + (" " + event.name);
}

// Each change waits for the news of the one before: a new directory is watched from its own news on.
Awaitable<> see_changes(AsyncSandbox sandbox, std::string dir, std::vector<std::string>& seen) {
    AsyncWatch watch = co_await sandbox.filesystem().watch(dir, true);
    const std::vector<std::pair<std::function<void()>, std::string>> steps = {
        {[&dir] { std::filesystem::create_directory(dir + "/sub"); }, "create sub"},
        {[&dir] { std::ofstream(dir + "/sub/file") << "x"; }, "write sub/file"},
        {[&dir] { std::filesystem::permissions(dir + "/sub/file", std::filesystem::perms(0600)); },
         "chmod sub/file"},
        {[&dir] { std::filesystem::rename(dir + "/sub/file", dir + "/moved"); }, "create moved"},
        {[&dir] { std::filesystem::remove(dir + "/moved"); }, "remove moved"}};
    for (const auto& [change, news] : steps) {
        change();
        do {
            const FileEvent event = co_await watch.next();
            seen.push_back(told(event));
        } while (seen.back() != news);
    }
}

TEST(Watch, TellsChangesBelow) {
    const e2e::Folder dir;
    asio::io_context context(1);
    std::vector<std::string> seen;
    asio::co_spawn(
        context,
        see_changes(AsyncSandbox::connect(context.get_executor(), daemon().info()), dir.path(), seen),
        rethrow);
    context.run();
    for (const char* wanted : {"create sub/file", "rename sub/file", "remove moved"})
        EXPECT_NE(std::find(seen.begin(), seen.end(), wanted), seen.end())
            << wanted << ": " << testing::PrintToString(seen);
}

TEST(Watch, BlockingAndErrors) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, to look at the descriptors of the daemon";
    const e2e::Folder dir;
    Filesystem fs = e2e::connect().filesystem();
    const std::size_t before = daemon().descriptors();
    {
        Watch watch = fs.watch(dir.path());
        fs.write_file(dir / "a", "x");
        const FileEvent event = watch.next();
        EXPECT_EQ(event.type, FileEventType::create);
        EXPECT_EQ(event.name, "a");
    }
    EXPECT_TRUE(eventually([before] { return daemon().descriptors() <= before + 1; }));
    EXPECT_THROW(fs.watch(dir / "none"), SandboxFileNotFoundError);
    EXPECT_THROW(fs.watch(dir / "a"), SandboxFilesystemError);
    ConnectionInfo wrong = daemon().info("wrong");
    EXPECT_THROW(Sandbox::connect(wrong).filesystem().watch(dir.path()), SandboxServiceError);
}

TEST(Watch, ARelativePathIsTheDaemonsAsEverywhere) {
    Filesystem fs = e2e::connect().filesystem();
    const std::string here = std::filesystem::current_path().string();  // the daemon has ours
    const e2e::Folder dir;
    const std::string path = std::filesystem::relative(dir.path(), here).string();
    Watch watch = fs.watch(path);
    fs.write_file(path + "/a", "x");
    EXPECT_EQ(watch.next().name, "a");
}

// ---- the command line

std::vector<std::string> cli(std::vector<std::string> words) {
    words.insert(words.begin(), SANDBOX_CLI);
    return words;
}

TEST(CliInput, IsPassedLiveAndSoIsItsEnd) {
    Program program(cli({"exec", "-i", "--", "sh", "-c", "while read -r l; do echo \"[$l]\"; done; exit 4"}),
                    daemon().client_variables());
    for (const std::string word : {"one", "two"}) {
        program.write(word + "\n");
        program.expect("[" + word + "]\n");
    }
    program.close_input();
    EXPECT_EQ(program.wait(), 4);
}

TEST(CliInput, ACommandThatReadsNothingOrStopsReadingHoldsNothingUp) {
    const std::string bytes = e2e::random_bytes(2'000'000);
    const auto run = [&](std::vector<std::string> words) {
        return e2e::run_program(cli(std::move(words)), daemon().client_variables(), bytes);
    };
    EXPECT_EQ(run({"exec", "-i", "--", "true"}).code, 0);
    EXPECT_EQ(run({"exec", "-i", "--", "head", "-c", "3"}).out, bytes.substr(0, 3));
    EXPECT_EQ(run({"exec", "-i", "-c", "exec <&-; echo on; exit 6"}).code, 6);
    EXPECT_EQ(run({"exec", "-i", "/no/such/program"}).code, 125);
    EXPECT_EQ(run({"--secret", "wrong", "exec", "-i", "true"}).code, 125);
    const e2e::Ran json = run({"--json", "exec", "-i", "-c", "head -c 1 | wc -c; echo bad >&2; exit 2"});
    EXPECT_EQ(json.out.find(R"({"stdout":"1\n","stderr":"bad\n","exit_code":2,)"), 0U) << json.out;
    const e2e::Ran late = run({"exec", "-i", "--timeout", "0.3", "--", "sleep", "1000"});
    EXPECT_EQ(late.code, 143);
    EXPECT_NE(late.err.find("timed out"), std::string::npos);
}

TEST(CliInput, AFileAsInput) {
    const e2e::Folder dir;
    const std::string bytes = e2e::random_bytes(700'000);
    std::ofstream(dir / "in", std::ios::binary) << bytes;
    const std::string line = std::string(SANDBOX_CLI) + " exec -i -- cat < " + dir / "in";
    EXPECT_TRUE(e2e::run_program({"sh", "-c", line}, daemon().client_variables()).out == bytes);
}

TEST(CliInput, AnInterruptEndsTheCommandAndItsTree) {
    for (const int signal : {SIGINT, SIGTERM}) {
        Program program(cli({"exec", "-i", "-c", "setsid sleep 1000 & echo up; sleep 1000"}),
                        daemon().client_variables());
        program.expect("up\n");
        program.signal(signal);
        EXPECT_EQ(program.wait(), 128 + signal);
        EXPECT_TRUE(eventually([] { return daemon().offspring().empty(); }));
    }
}

TEST(CliInput, AKilledClientLeavesNothingBehind) {
    Program program(cli({"exec", "-i", "-c", "echo up; cat"}), daemon().client_variables());
    program.expect("up\n");
    program.signal(SIGKILL);
    EXPECT_EQ(program.wait(), 128 + SIGKILL);
    EXPECT_TRUE(eventually([] { return daemon().offspring().empty(); }));
}

// A shell that reads no files of the machine's, and so has the prompt that is looked for.
std::vector<std::string> dash(const std::vector<std::string>& options = {}) {
    std::vector<std::string> words = cli({"shell", "-e", "PS1=ready> "});
    words.insert(words.end(), options.begin(), options.end());
    words.insert(words.end(), {"--", "sh"});
    return words;
}

TEST(CliShell, WithoutACommandIsAShell) {
    Terminal terminal(cli({"shell"}), daemon().client_variables());
    terminal.type("test -t 0 && echo $((40 + 2)) $LANG; exit 3\r");
    terminal.expect("42 ");
    EXPECT_EQ(terminal.wait(), 3);
}

TEST(CliShell, RawModeResizeExitCodeAndRestoredTerminal) {
    Terminal terminal(dash({"-w", "/tmp"}), daemon().client_variables(), 97, 29);
    EXPECT_TRUE(e2e::is_cooked(terminal.settings()));
    terminal.expect("ready> ");
    EXPECT_FALSE(e2e::is_cooked(terminal.settings()));
    terminal.type("stty size; pwd\r");
    terminal.expect("29 97\r\n/tmp\r\nready> ");
    terminal.resize(120, 41);
    terminal.type("while [ \"$(stty size)\" != '41 120' ]; do sleep 0.01; done; echo size is 'right'\r");
    terminal.expect("size is right\r\nready> ");
    // Ctrl-C is the command's, not ours. An inner shell says that it runs: while it starts, the outer one may
    // swallow it.
    terminal.type("sh -c 'echo sleeping; exec sleep 1000'\r");
    terminal.expect("\r\nsleeping\r\n");
    terminal.type("\x03");
    terminal.expect("ready> ");
    terminal.type("exit 7\r");
    EXPECT_EQ(terminal.wait(), 7);
    EXPECT_TRUE(e2e::is_cooked(terminal.settings()));
    EXPECT_TRUE(eventually([] { return daemon().offspring().empty(); }));
}

TEST(CliShell, AnotherCommandAndUtf8) {
    Terminal terminal(cli({"shell", "--", "cat"}), daemon().client_variables());
    terminal.type("gr\xC3\xBC\xC3\x9F\r");
    terminal.expect("gr\xC3\xBC\xC3\x9F\r\ngr\xC3\xBC\xC3\x9F\r\n");
    terminal.type("\x04");
    EXPECT_EQ(terminal.wait(), 0);
    Terminal same(cli({"exec", "-it", "--", "sh", "-c", "test -t 0 && exit 5"}), daemon().client_variables());
    EXPECT_EQ(same.wait(), 5);
}

// However it ends, the terminal is as before and the sandbox is empty.
TEST(CliShell, EveryWayOutRestoresTheTerminal) {
    for (const int signal : {SIGTERM, SIGHUP, SIGINT, SIGQUIT}) {
        Terminal terminal(dash(), daemon().client_variables());
        terminal.expect("ready> ");
        terminal.signal(signal);
        EXPECT_EQ(terminal.wait(), 128 + signal);
        EXPECT_TRUE(e2e::is_cooked(terminal.settings())) << signal;
        EXPECT_TRUE(eventually([] { return daemon().offspring().empty(); }));
    }
    {
        Terminal refused(cli({"shell", "-w", "/no/such"}), daemon().client_variables());
        EXPECT_EQ(refused.wait(), 125);
        EXPECT_TRUE(e2e::is_cooked(refused.settings()));
    }
    {
        e2e::Daemon mortal;
        Terminal terminal(dash(), mortal.client_variables());
        terminal.expect("ready> ");
        ::kill(mortal.pid(), SIGKILL);
        EXPECT_EQ(terminal.wait(), 125);
        EXPECT_TRUE(e2e::is_cooked(terminal.settings()));
        EXPECT_NE(terminal.shown().find("sandbox: "), std::string::npos);
        mortal.expect_death();
    }
    {
        Terminal hung_up(dash(), daemon().client_variables());
        hung_up.expect("ready> ");
        hung_up.close();
        EXPECT_EQ(hung_up.wait(), 128 + SIGHUP);
        EXPECT_TRUE(eventually([] { return daemon().offspring().empty(); }));
    }
}

TEST(CliShell, NeedsATerminal) {
    const e2e::Ran ran = e2e::run_program(cli({"shell"}), daemon().client_variables());
    EXPECT_EQ(ran.code, 2);
    EXPECT_NE(ran.err.find("no terminal"), std::string::npos) << ran.err;
}

TEST(CliWatch, PrintsChanges) {
    const e2e::Folder dir;
    std::filesystem::create_directory(dir / "sub");
    for (const bool json : {false, true}) {
        std::vector<std::string> words = cli({"watch", "-r", dir.path()});
        if (json) words.insert(words.begin() + 1, "--json");
        Program program(words, daemon().client_variables());
        // The watch is there when the daemon has its descriptor; until then nothing is told.
        const std::string wanted =
            json ? R"({"type":"create","name":"sub/f","path":")" + dir / "sub/f" + "\"}\n"
                 : "create  " + dir / "sub/f" + "\n";
        program.expect_while(wanted, [&dir] {
            std::filesystem::remove(dir / "sub/f");
            std::ofstream(dir / "sub/f") << "x";
        });
        program.signal(SIGINT);
        EXPECT_EQ(program.wait(), 128 + SIGINT);
    }
    EXPECT_EQ(e2e::run_program(cli({"watch", dir / "none"}), daemon().client_variables()).code, 1);
}

}  // namespace
