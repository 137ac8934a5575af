// The command line and the examples against the real daemon.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "support.hpp"

using e2e::daemon;
using e2e::eventually;
using e2e::Ran;

namespace {

Ran cli(std::vector<std::string> words, const std::string& input = {}) {
    words.insert(words.begin(), SANDBOX_CLI);
    return e2e::run_program(words, daemon().client_variables(), input);
}

std::string content_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream content;
    content << file.rdbuf();
    return content.str();
}

std::string trimmed(std::string text) {
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
}

TEST(Cli, ExecStreamsAndExitsAsTheCommand) {
    Ran ran = cli({"exec", "--", "sh", "-c", "echo out; echo err >&2; exit 7"});
    EXPECT_EQ(ran.code, 7);
    EXPECT_EQ(ran.out, "out\n");
    EXPECT_EQ(ran.err, "err\n");
    EXPECT_EQ(cli({"exec", "-w", "/tmp", "-e", "A=1 2", "--env=B=3", "sh", "-c", "pwd; echo $A$B"}).out,
              "/tmp\n1 23\n");
    EXPECT_EQ(cli({"exec", "echo", "-w", "--", "$HOME"}).out, "-w -- $HOME\n")
        << "the command's words are its own";
    EXPECT_EQ(cli({"exec", "-c", "echo", "a", "|", "tr a b"}).out, "b\n");
    EXPECT_EQ(cli({"exec", "sh", "-c", "kill -9 $$"}).code, 137);
    ran = cli({"exec", "--timeout", "0.2", "-c", "echo begun; sleep 1000"});
    EXPECT_NE(ran.code, 0);
    EXPECT_EQ(ran.out, "begun\n");
    EXPECT_NE(ran.err.find("timed out"), std::string::npos);
    EXPECT_EQ(cli({"exec", "/no/such/program"}).code, 125);
    EXPECT_EQ(cli({"exec", "-w", "/no/such", "true"}).code, 125);
    EXPECT_EQ(cli({"exec"}).code, 2);
    EXPECT_EQ(cli({"exec", "-e", "nonsense", "true"}).code, 2);
    EXPECT_EQ(cli({"--json", "exec", "-c", "echo hi; exit 3"}).code, 3);
    EXPECT_EQ(cli({"--json", "exec", "-c", "echo hi"})
                  .out.find(R"({"stdout":"hi\n","stderr":"","exit_code":0,"duration":)"),
              0U);
}

TEST(Cli, ExecPassesStandardInput) {
    const std::string bytes = e2e::random_bytes(1'000'000);
    EXPECT_TRUE(cli({"exec", "-i", "--", "cat"}, bytes).out == bytes);
    EXPECT_EQ(cli({"exec", "--", "cat"}, "ignored").out, "");
}

// The number of a closed stream must not go to a socket, which would get our output then.
TEST(Cli, ClosedStandardStreams) {
    const auto ran = [](const std::string& redirected) {
        return e2e::run_program({"sh", "-c", "exec \"$0\" exec -- echo hi " + redirected, SANDBOX_CLI},
                                daemon().client_variables());
    };
    EXPECT_EQ(ran("<&-").out, "hi\n");
    EXPECT_EQ(ran("2>&-").out, "hi\n");
    const Ran closed = ran(">&-");
    EXPECT_EQ(closed.code, 125);
    EXPECT_NE(closed.err.find("Bad file descriptor"), std::string::npos) << closed.err;
}

TEST(Cli, WrongUsageIsToldInOneForm) {
    const std::vector<std::vector<std::string>> cases = {{"exec", "--timeout", "-1", "true"},
                                                         {"exec", "--timeout", "soon", "true"},
                                                         {"health", "--wait", "-1"},
                                                         {"expose", "99999"},
                                                         {"cp", "one"},
                                                         {"completion", "tcsh"},
                                                         {"ls", "--no-such-option"},
                                                         {"no-such-command"},
                                                         {"logs"}};
    for (const std::vector<std::string>& words : cases) {
        const Ran ran = cli(words);
        EXPECT_EQ(ran.code, 2) << words[0];
        EXPECT_EQ(ran.err.rfind("sandbox: ", 0), 0U) << ran.err;
        EXPECT_LT(ran.err.size(), 200U) << ran.err;
        EXPECT_EQ(ran.out, "");
    }
}

TEST(Cli, Files) {
    const e2e::Folder dir;
    EXPECT_EQ(cli({"mkdir", dir / "a", dir / "b"}).code, 0);
    EXPECT_EQ(cli({"mkdir", dir / "a"}).code, 1);
    EXPECT_EQ(cli({"mkdir", "-p", dir / "a", dir / "x/y/z"}).code, 0);
    std::ofstream(dir / "f", std::ios::binary) << std::string("1\0\xFF", 3);
    EXPECT_EQ(cli({"cat", dir / "f", dir / "f"}).out, std::string("1\0\xFF"
                                                                  "1\0\xFF",
                                                                  6));
    EXPECT_EQ(cli({"ls", dir.path()}).out, "a\nb\nf\nx\n");
    EXPECT_EQ(cli({"--json", "ls", dir.path()}).out, R"(["a","b","f","x"])"
                                                     "\n");
    const Ran details = cli({"ls", "-l", dir.path()});
    EXPECT_EQ(details.out.find("drwxr-xr-x "), 0U) << details.out;
    EXPECT_NE(details.out.find("Z f\n"), std::string::npos) << details.out;
    EXPECT_EQ(cli({"ls", dir / "f"}).out, dir / "f" + "\n");
    EXPECT_EQ(cli({"mv", dir / "f", dir / "a"}).code, 0);
    EXPECT_EQ(cli({"mv", dir / "a/f", dir / "g"}).code, 0);
    EXPECT_TRUE(std::filesystem::exists(dir / "g"));
    EXPECT_EQ(cli({"rm", dir / "x"}).code, 1);
    EXPECT_EQ(cli({"rm", "-r", dir / "x", dir / "g"}).code, 0);
    EXPECT_EQ(cli({"rm", dir / "g"}).code, 1);
    EXPECT_EQ(cli({"rm", "-rf", dir / "g"}).code, 0);
    EXPECT_EQ(cli({"cat", dir / "none"}).code, 1);
    EXPECT_EQ(cli({"ls", dir / "none"}).err,
              "sandbox: open " + dir / "none" + ": no such file or directory\n");
}

TEST(Cli, CopiesFilesAndDirectories) {
    const e2e::Folder local;
    const e2e::Folder remote;
    std::filesystem::create_directories(local / "tree/sub/deep");
    const std::string bytes = e2e::random_bytes(5'000'000);
    std::ofstream(local / "tree/sub/deep/big", std::ios::binary) << bytes;
    std::ofstream(local / "tree/run.sh") << "#!/bin/sh\necho ran\n";
    std::filesystem::permissions(local / "tree/run.sh", std::filesystem::perms(0755));
    std::ofstream(local / "tree/empty");
    EXPECT_EQ(cli({"cp", local / "tree", ":" + remote / "new"}).code, 0);
    EXPECT_TRUE(content_of(remote / "new/sub/deep/big") == bytes);
    EXPECT_EQ(cli({"exec", "--", remote / "new/run.sh"}).out, "ran\n");
    EXPECT_EQ(cli({"cp", local / "tree/run.sh", local / "tree/empty", ":" + remote.path()}).code, 0);
    EXPECT_TRUE(std::filesystem::exists(remote / "run.sh"));
    EXPECT_TRUE(std::filesystem::exists(remote / "empty"));
    EXPECT_EQ(cli({"cp", ":" + remote / "new", local / "back"}).code, 0);
    EXPECT_TRUE(content_of(local / "back/sub/deep/big") == bytes);
    EXPECT_EQ(cli({"cp", ":" + remote / "new", local.path()}).code, 0);
    EXPECT_TRUE(std::filesystem::exists(local / "new/run.sh"));
    EXPECT_EQ(cli({"cp", ":" + remote / "run.sh", ":" + remote / "copy.sh"}).code, 0);
    EXPECT_TRUE(std::filesystem::exists(remote / "copy.sh"));
    std::filesystem::create_symlink("/no/such", remote / "new/dangling");
    const Ran partial = cli({"cp", ":" + remote / "new", local / "partial"});
    EXPECT_EQ(partial.code, 1);
    EXPECT_NE(partial.err.find("skipped"), std::string::npos);
    EXPECT_EQ(cli({"cp", local / "none", ":" + remote.path()}).code, 1);
    EXPECT_EQ(cli({"cp", "a", "b"}).code, 2);
}

// JSON has no way to tell such a name back: the rest is copied all the same.
TEST(Cli, ANameThatIsNoUtf8IsSkipped) {
    const e2e::Folder local;
    const e2e::Folder remote;
    for (const char* name : {"a", "bad\xff", "z"}) std::ofstream(remote / name) << name;
    const Ran ran = cli({"cp", ":" + remote.path(), local / "copy"});
    EXPECT_EQ(ran.code, 1);
    EXPECT_NE(ran.err.find("skipped"), std::string::npos) << ran.err;
    EXPECT_TRUE(std::filesystem::exists(local / "copy/a"));
    EXPECT_TRUE(std::filesystem::exists(local / "copy/z"));
}

TEST(Cli, ADownloadThatIsEndedLeavesNothing) {
    const e2e::Folder dir;
    const Ran ran =
        e2e::run_program({"timeout", "-s", "TERM", "0.5", SANDBOX_CLI, "cp", ":/dev/zero", dir / "zero"},
                         daemon().client_variables());
    EXPECT_EQ(ran.code, 124);
    EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

// A hundred times what is held in memory at a time, there and back.
TEST(Cli, CopiesLargeFilesInConstantMemory) {
    const e2e::Folder dir;
    constexpr std::size_t kPiece = 4'000'000;
    const std::string piece = e2e::random_bytes(kPiece);
    {
        std::ofstream file(dir / "big", std::ios::binary);
        for (int i = 0; i < 30; ++i) file << piece << i;
    }
    std::filesystem::permissions(dir / "big", std::filesystem::perms(0750));
    const Ran up = cli({"cp", dir / "big", ":" + dir / "there"});
    EXPECT_EQ(up.code, 0) << up.err;
    const Ran down = cli({"cp", ":" + dir / "there", dir / "back"});
    EXPECT_EQ(down.code, 0) << down.err;
    EXPECT_EQ(e2e::run_program({"cmp", dir / "big", dir / "back"}).code, 0);
    EXPECT_EQ(std::filesystem::status(dir / "back").permissions(), std::filesystem::perms(0750));
    // A sanitizer's shadow memory is not what is looked for.
    if (std::getenv("SANDBOX_SLOW") != nullptr) return;
    EXPECT_LT(up.max_rss_kb, 40'000);
    EXPECT_LT(down.max_rss_kb, 40'000);
}

TEST(Cli, AProgressBarOnATerminalAlone) {
    const e2e::Folder dir;
    std::ofstream(dir / "big") << std::string(9'000'000, 'x');
    EXPECT_EQ(cli({"cp", dir / "big", ":" + dir / "copy"}).err, "");
    // script(1) gives the command line a terminal.
    if (!e2e::has_program("script")) GTEST_SKIP() << "script (util-linux) is not installed";
    const Ran shown = e2e::run_program(
        {"script", "-qec", std::string(SANDBOX_CLI) + " cp " + dir / "big :" + dir / "copy", "/dev/null"},
        daemon().client_variables());
    EXPECT_EQ(shown.code, 0);
    EXPECT_NE(shown.out.find("8.6 MiB / 8.6 MiB"), std::string::npos) << shown.out;
}

TEST(Cli, Processes) {
    const std::string id =
        trimmed(cli({"start", "--tag", "t", "--", "sh", "-c", "echo line; echo bad >&2; sleep 1000"}).out);
    ASSERT_EQ(id.size(), 36U);
    EXPECT_EQ(cli({"ps", "-q"}).out, id + "\n");
    EXPECT_NE(cli({"ps"}).out.find("running"), std::string::npos);
    EXPECT_EQ(cli({"--json", "ps"}).out.find("[{\"id\":\"" + id + "\""), 0U);
    EXPECT_TRUE(eventually([&id] {
        const Ran logs = cli({"logs", id});
        return logs.out == "line\n" && logs.err == "bad\n";
    }));
    EXPECT_EQ(cli({"kill", id}).code, 0);
    EXPECT_EQ(cli({"kill", id}).code, 1);
    EXPECT_EQ(cli({"kill"}).code, 2);
    EXPECT_EQ(cli({"ps", "-q"}).out, "");
    EXPECT_NE(cli({"ps", "-a"}).out.find("killed"), std::string::npos);
    EXPECT_EQ(cli({"logs", "nobody"}).code, 1);
    const std::string followed =
        trimmed(cli({"start", "-c", "for i in 1 2 3; do echo $i; sleep 0.05; done"}).out);
    EXPECT_EQ(cli({"logs", "-f", followed}).out, "1\n2\n3\n");
    EXPECT_EQ(cli({"logs", "-f", "--from", "2", followed}).out, "2\n3\n");
    const std::string signalled = trimmed(cli({"start", "sleep", "1000"}).out);
    EXPECT_EQ(cli({"kill", "-s", "INT", signalled}).code, 0);
    cli({"start", "sleep", "1000"});
    EXPECT_EQ(cli({"kill", "--all"}).code, 0);
    EXPECT_TRUE(eventually([] { return daemon().offspring().empty(); }));
}

TEST(Cli, PortsAndHealth) {
    EXPECT_EQ(cli({"health"}).out, "ok\n");
    EXPECT_EQ(cli({"health", "--wait", "5"}).code, 0);
    EXPECT_EQ(cli({"--json", "expose", "8080"}).out,
              "{\"port\":8080,\"exposed_at\":\"" + daemon().url() + "\"}\n");
    EXPECT_EQ(cli({"unexpose"}).code, 0);
    EXPECT_EQ(cli({"expose", "70000"}).code, 2);
    EXPECT_EQ(cli({"--url", "http://127.0.0.1:1", "health"}).code, 1);
    EXPECT_EQ(cli({"--secret", "wrong", "ls"}).err, "sandbox: Unauthorized\n");
    EXPECT_EQ(e2e::run_program({SANDBOX_CLI, "ls"}).code, 2) << "no sandbox named";
    EXPECT_NE(cli({"--help"}).out.find("SANDBOX_URL"), std::string::npos);
    EXPECT_EQ(cli({"nonsense"}).code, 2);
}

TEST(Cli, OptionsOfAllCommandsStandAnywhere) {
    const e2e::Folder dir;
    EXPECT_EQ(cli({"ls", dir.path(), "--json"}).out, "[]\n");
    EXPECT_EQ(cli({"ps", "-a", "--secret", "wrong"}).err, "sandbox: Unauthorized\n");
    EXPECT_EQ(cli({"exec", "--secret", "wrong", "--", "true"}).err, "sandbox: Unauthorized\n");
    EXPECT_EQ(cli({"exec", "--json", "-w", "/", "pwd", "--json"}).code, 1) << "pwd has no such option";
}

TEST(Cli, Completion) {
    for (const std::string shell : {"bash", "zsh", "fish"}) EXPECT_EQ(cli({"completion", shell}).code, 0);
    const std::string script =
        "eval \"$(" + std::string(SANDBOX_CLI) +
        " completion bash)\"; COMP_WORDS=(sandbox une); COMP_CWORD=1; _sandbox; echo ${COMPREPLY[@]}; "
        "COMP_WORDS=(sandbox --json logs --f); COMP_CWORD=3; _sandbox; echo ${COMPREPLY[@]}";
    EXPECT_EQ(e2e::run_program({"bash", "-c", script}).out, "unexpose\n--follow --from\n");
}

TEST(Examples, EachOfThemRuns) {
    const std::vector<std::pair<std::string, std::string>> expected = {
        {"01_basic_commands", "command timed out after 0.5 s; it said: started\n"},
        {"02_streaming_output", "tick 2\nenough\n"},
        {"03_environment_variables", "hello, wide world\n"},
        {"04_working_directory", "./src/main.cpp\n"},
        {"05_files", "second line\n"},
        {"06_directories", "project exists\nleft: false\n"},
        {"07_binary_files", "equal: true\nsize there: 256\nthrough cat: true\n"},
        {"08_batch_operations", "10 files\ncontent 9\n"},
        {"09_upload_download", "8000000\nback: 8000000\n"},
        {"10_background_processes", "then: killed\ngot one\ngot two\n"},
        {"11_expose_port", "port 8081\nclosed\n"},
        {"12_async", ": done\n"},
        {"13_input_and_terminal", "1\n21\n321\n30 100\n40 120\ntyped\nexit code 0\n"},
        {"14_watch", "created build\ncreated build/result\n"}};
    const e2e::Folder dir;
    std::size_t found = 0;
    for (const auto& entry : std::filesystem::directory_iterator(SANDBOX_EXAMPLE_DIR))
        if (entry.path().filename().string().starts_with("example_")) ++found;
    EXPECT_EQ(found, expected.size()) << "each example has a line here";
    for (const auto& [name, text] : expected) {
        const std::string program = std::string(SANDBOX_EXAMPLE_DIR) + "/example_" + name;
        const Ran ran = e2e::run_program({"sh", "-c", "cd " + dir.path() + " && exec " + program},
                                         daemon().client_variables());
        EXPECT_EQ(ran.code, 0) << name << ": " << ran.err;
        EXPECT_NE(ran.out.find(text), std::string::npos) << name << ":\n" << ran.out;
    }
    EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

}  // namespace
