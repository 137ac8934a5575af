// The blocking form against the real daemon: commands, files, processes, ports.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <future>
#include <set>
#include <sstream>

#include "support.hpp"

using namespace koyeb::sandbox;
using e2e::daemon;
using e2e::eventually;

namespace {

std::string content_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream content;
    content << file.rdbuf();
    return content.str();
}

TEST(Exec, ResultAndEnvironment) {
    Sandbox sandbox = e2e::connect();
    EXPECT_TRUE(sandbox.is_healthy());
    EXPECT_EQ(sandbox.status(), "ok");
    ExecOptions options;
    options.env = {{"A", "one two"}};
    options.cwd = "/tmp";
    options.stats = true;
    const CommandResult result = sandbox.exec("echo \"$A\"; pwd; echo err >&2; exit 5", options);
    EXPECT_EQ(result.stdout_data, "one two\n/tmp\n");
    EXPECT_EQ(result.stderr_data, "err\n");
    EXPECT_EQ(result.output(), "one two\n/tmp\nerr\n");
    EXPECT_EQ(result.exit_code, 5);
    EXPECT_EQ(result.status, CommandStatus::failed);
    EXPECT_FALSE(result.success());
    ASSERT_TRUE(result.stats);
    EXPECT_GT(result.stats->peak_rss_bytes, 0U);
    EXPECT_EQ(sandbox.exec("kill -9 $$").signal, "SIGKILL");
    EXPECT_EQ(sandbox.exec("kill -9 $$").exit_code, 137);
}

TEST(Exec, ExactBytesBothWaysAndBothForms) {
    Sandbox sandbox = e2e::connect();
    const std::string bytes = e2e::random_bytes(5'000'000);
    ExecOptions options;
    options.stdin_data = bytes;
    EXPECT_TRUE(sandbox.exec("cat", options).stdout_data == bytes);
    std::string streamed;
    options.on_stdout = [&streamed](std::string_view data) { streamed += data; };
    EXPECT_TRUE(sandbox.exec("cat", options).stdout_data == bytes);
    EXPECT_TRUE(streamed == bytes);
}

TEST(Exec, TextStreamsKeepTheirLineEnds) {
    Client client(daemon().info());
    RunRequest request;
    request.cmd = R"(printf 'a\r\nb\n\nc\r\r\nlast')";
    request.encoding = Encoding::utf8;
    CommandStream stream = client.run_streaming(request);
    std::string all;
    while (const auto event = stream.next()) all += event->data;
    EXPECT_EQ(all, "a\r\nb\n\nc\r\r\nlast");
}

TEST(Exec, TimeoutEndsTheTreeAndKeepsTheOutput) {
    Sandbox sandbox = e2e::connect();
    for (const bool streaming : {false, true}) {
        ExecOptions options;
        options.timeout = Seconds{0.3};
        if (streaming) options.on_stdout = [](std::string_view) {};
        try {
            sandbox.exec("echo begun; setsid sleep 1000 & sleep 1000", options);
            ADD_FAILURE();
        } catch (const SandboxTimeoutError& error) {
            ASSERT_TRUE(error.partial());
            EXPECT_EQ(error.partial()->stdout_data, "begun\n");
        }
        EXPECT_TRUE(eventually([] { return daemon().offspring().empty(); }));
    }
}

TEST(Exec, DroppingAStreamEndsTheTree) {
    Sandbox sandbox = e2e::connect();
    ExecOptions options;
    options.timeout = Seconds{0};
    {
        CommandStream stream = sandbox.exec_stream("sleep 1000 & setsid sleep 1000 & echo up; wait", options);
        EXPECT_EQ(stream.next()->data, "up\n");
        EXPECT_FALSE(daemon().offspring().empty());
    }
    EXPECT_TRUE(eventually([] { return daemon().offspring().empty(); }));
    EXPECT_EQ(sandbox.exec("echo on").stdout_data, "on\n");
}

TEST(Exec, ABackgroundJobHoldsNothingUp) {
    Sandbox sandbox = e2e::connect();
    const CommandResult result = sandbox.exec("sleep 1000 & echo $!");
    EXPECT_TRUE(result.pipes_open);
    EXPECT_LT(result.duration.count(), 5);
    sandbox.exec("kill " + result.stdout_data);
    EXPECT_TRUE(eventually([] { return daemon().offspring().empty(); }));
}

TEST(Exec, WhatCannotRun) {
    Sandbox sandbox = e2e::connect();
    ExecOptions options;
    options.cwd = "/does/not/exist";
    EXPECT_THROW(sandbox.exec("true", options), SandboxCommandError);
    options.cwd.clear();
    options.args = {"/does/not/exist"};
    EXPECT_THROW(sandbox.exec("", options), SandboxCommandError);
    EXPECT_THROW(sandbox.exec_stream("", options).next(), SandboxCommandError);
    EXPECT_THROW(sandbox.exec(""), SandboxCommandError);
    EXPECT_EQ(sandbox.exec("/does/not/exist").exit_code, 127);
}

TEST(Exec, ASlowReaderLosesNothing) {
    Sandbox sandbox = e2e::connect();
    ExecOptions options;
    options.timeout = Seconds{0};
    CommandStream stream = sandbox.exec_stream("seq 1 1000000", options);
    std::string all;
    std::size_t pieces = 0;
    while (const auto event = stream.next()) {
        all += event->data;
        if (++pieces <= 50) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_EQ(stream.end().exit_code, 0);
    EXPECT_EQ(all.size(), 6888896U);
    EXPECT_TRUE(all.ends_with("\n999999\n1000000\n"));
    EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 1000000);
}

TEST(Exec, SixtyFourClientsAtOnce) {
    std::vector<std::future<std::string>> answers;
    for (int i = 0; i < 64; ++i)
        answers.push_back(std::async(std::launch::async, [i] {
            Sandbox sandbox = e2e::connect();
            std::string all;
            for (int round = 0; round < 3; ++round)
                all += sandbox.exec("printf %s " + std::to_string(i)).stdout_data;
            return all;
        }));
    for (int i = 0; i < 64; ++i) {
        const std::string n = std::to_string(i);
        EXPECT_EQ(answers[static_cast<std::size_t>(i)].get(), n + n + n);
    }
}

TEST(Files, EveryOperation) {
    const e2e::Folder dir;
    Filesystem fs = e2e::connect().filesystem();
    fs.write_file(dir / "a", "text\n");
    EXPECT_EQ(fs.read_file(dir / "a").content, "text\n");
    WriteOptions append;
    append.append = true;
    fs.write_file(dir / "a", "more\n", append);
    EXPECT_EQ(fs.read_bytes(dir / "a"), "text\nmore\n");
    EXPECT_TRUE(fs.exists(dir / "a"));
    EXPECT_TRUE(fs.is_file(dir / "a"));
    EXPECT_FALSE(fs.is_dir(dir / "a"));
    EXPECT_TRUE(fs.is_dir(dir.path()));
    EXPECT_FALSE(fs.exists(dir / "a/b"));
    EXPECT_FALSE(fs.exists(dir / "none"));
    fs.mkdir(dir / "d/e/f");
    fs.mkdir(dir / "d/e/f");
    EXPECT_THROW(fs.mkdir(dir / "d", false), SandboxFileExistsError);
    EXPECT_THROW(fs.mkdir(dir / "x/y", false), SandboxFileNotFoundError);
    fs.mkdir(dir / "x", false);
    fs.rename_file(dir / "a", dir / "b");
    fs.move_file(dir / "b", dir / "d/c");
    fs.copy_file(dir / "d", dir / "copy");
    EXPECT_EQ(fs.ls(dir.path()), (std::vector<std::string>{"copy", "d", "x"}));
    EXPECT_EQ(fs.list_dir(dir / "copy"), (std::vector<std::string>{"c", "e"}));
    EXPECT_TRUE(fs.ls(dir / "x").empty());
    fs.write_files({{dir / "1", "one"}, {dir / "2", ""}});
    EXPECT_EQ(fs.read_file(dir / "2").content, "");
    fs.delete_file(dir / "1");
    fs.rm(dir / "2");
    EXPECT_THROW(fs.rm(dir / "2"), SandboxFileNotFoundError);
    EXPECT_THROW(fs.rm(dir / "d"), SandboxFilesystemError);
    EXPECT_THROW(fs.delete_file(dir / "x"), SandboxFilesystemError);
    fs.rm(dir / "d", true);
    fs.rm(dir / "copy/c", true);
    fs.delete_dir(dir / "copy");
    fs.delete_dir(dir / "copy");
    EXPECT_THROW(fs.read_file(dir / "none"), SandboxFileNotFoundError);
    EXPECT_THROW(fs.read_file(dir.path()), SandboxFilesystemError);
    EXPECT_THROW(fs.write_file(dir / "no/such", "x"), SandboxFileNotFoundError);
    EXPECT_THROW(fs.ls(dir / "none"), SandboxFileNotFoundError);
    EXPECT_THROW(fs.mkdir("/dev/null/x"), SandboxFilesystemError);
}

TEST(Files, Stat) {
    const e2e::Folder dir;
    Filesystem fs = e2e::connect().filesystem();
    WriteOptions options;
    options.mode = 0750;
    options.create_parents = true;
    fs.write_file(dir / "p/q", "12345", options);
    std::filesystem::create_symlink("p/q", dir / "link");
    FileStat info = fs.stat(dir / "link");
    EXPECT_EQ(info.type, FileType::file);
    EXPECT_EQ(info.size, 5U);
    EXPECT_EQ(info.mode, 0750U);
    EXPECT_EQ(info.uid, static_cast<std::int64_t>(::getuid()));
    EXPECT_FALSE(info.modified_at.empty());
    info = fs.stat(dir / "link", false);
    EXPECT_EQ(info.type, FileType::symlink);
    EXPECT_EQ(info.target, "p/q");
    EXPECT_EQ(fs.stat(dir.path()).type, FileType::directory);
    EXPECT_EQ(fs.stat("/dev/null").type, FileType::other);
}

TEST(Files, Handles) {
    const e2e::Folder dir;
    Filesystem fs = e2e::connect().filesystem();
    FileHandle writer = fs.open(dir / "h", "w");
    writer.write("one ");
    writer.write("two");
    EXPECT_THROW(writer.read(), SandboxFilesystemError);
    writer.close();
    EXPECT_THROW(writer.write("x"), SandboxFilesystemError);
    FileHandle appender = fs.open(dir / "h", "ab");
    appender.write(std::string("\0\xFF", 2));
    FileHandle reader = fs.open(dir / "h", "rb");
    EXPECT_EQ(reader.read(3), "one");
    EXPECT_EQ(reader.read(), std::string(" two\0\xFF", 6));
    EXPECT_EQ(reader.read(10), "");
    EXPECT_THROW(fs.open(dir / "none"), SandboxFileNotFoundError);
    EXPECT_THROW(fs.open(dir / "h", "x"), SandboxFileExistsError);
    EXPECT_THROW(fs.open(dir / "h", "z"), SandboxFilesystemError);
}

TEST(Files, LargeTransfers) {
    const e2e::Folder dir;
    Filesystem fs = e2e::connect().filesystem();
    const std::size_t size = (std::size_t{16} << 20U) + 12345;
    const std::string bytes = e2e::random_bytes(size);
    std::ofstream(dir / "local", std::ios::binary) << bytes;
    std::filesystem::permissions(dir / "local", std::filesystem::perms(0751));
    std::vector<std::uint64_t> progress;
    fs.upload_file(dir / "local", dir / "remote", [&](std::uint64_t done, std::uint64_t total) {
        EXPECT_EQ(total, size);
        progress.push_back(done);
    });
    EXPECT_TRUE(std::is_sorted(progress.begin(), progress.end()));
    EXPECT_EQ(progress.back(), size);
    EXPECT_TRUE(content_of(dir / "remote") == bytes);
    EXPECT_EQ(fs.stat(dir / "remote").mode, 0751U);
    fs.download_file(dir / "remote", dir / "back");
    EXPECT_TRUE(content_of(dir / "back") == bytes);
    EXPECT_EQ(std::filesystem::status(dir / "back").permissions(), std::filesystem::perms(0751));
    EXPECT_TRUE(fs.read_bytes(dir / "remote") == bytes);
    EXPECT_THROW(fs.upload_file(dir / "none", dir / "x"), SandboxFileNotFoundError);
    EXPECT_THROW(fs.upload_file(dir / "local", dir / "no/such"), SandboxFileNotFoundError);
    EXPECT_THROW(fs.download_file(dir / "none", dir / "x"), SandboxFileNotFoundError);
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(dir.path()))
        names.insert(entry.path().filename());
    EXPECT_EQ(names, (std::set<std::string>{"local", "remote", "back"})) << "no half-done file is left";
}

TEST(Processes, LifeOfOne) {
    Sandbox sandbox = e2e::connect();
    LaunchOptions options;
    options.tag = "mine";
    options.env = {{"N", "7"}};
    options.cwd = "/tmp";
    const std::string id = sandbox.launch_process("echo $N; echo oops >&2; sleep 1000", options);
    const auto processes = sandbox.list_processes();
    const auto found =
        std::find_if(processes.begin(), processes.end(), [&](const auto& p) { return p.id == id; });
    ASSERT_NE(found, processes.end());
    EXPECT_EQ(found->status, "running");
    EXPECT_TRUE(found->pid);
    EXPECT_TRUE(found->started_at);
    EXPECT_FALSE(found->exit_code);
    EXPECT_EQ(sandbox.get_process(id).tag, "mine");
    EXPECT_EQ(sandbox.get_process(id).cwd, "/tmp");
    LogStream logs = sandbox.process_logs(id);
    std::string out;
    std::string err;
    for (int i = 0; i < 2; ++i) {
        const auto event = logs.next();
        ASSERT_TRUE(event);
        (event->stream == Stream::out ? out : err) += event->data;
    }
    EXPECT_EQ(out, "7\n");
    EXPECT_EQ(err, "oops\n");
    sandbox.kill_process(id);
    EXPECT_FALSE(logs.next());
    EXPECT_EQ(sandbox.get_process(id).status, "killed");
    EXPECT_THROW(sandbox.kill_process(id), SandboxServiceError);
    EXPECT_THROW(sandbox.kill_process("nobody"), SandboxServiceError);
    EXPECT_THROW(sandbox.get_process("nobody"), SandboxServiceError);
    EXPECT_THROW(sandbox.process_logs("nobody").next(), SandboxError);
}

TEST(Processes, InputSignalsAndAll) {
    Sandbox sandbox = e2e::connect();
    LaunchOptions options;
    options.open_stdin = true;
    const std::string cat = sandbox.launch_process("cat", options);
    sandbox.send_stdin(cat, "one\n");
    sandbox.send_stdin(cat, "two", true);
    std::string all;
    LogStream logs = sandbox.process_logs(cat);
    while (const auto event = logs.next()) all += event->data;
    EXPECT_EQ(all, "one\ntwo");
    const std::string trap =
        sandbox.launch_process("trap 'echo caught; exit 3' USR1; echo set; while :; do sleep 0.01; done");
    LogStream trapped = sandbox.process_logs(trap);
    EXPECT_EQ(trapped.next()->data, "set\n");
    sandbox.signal_process(trap, "SIGUSR1");
    EXPECT_EQ(trapped.next()->data, "caught\n");
    EXPECT_FALSE(trapped.next());
    EXPECT_EQ(sandbox.get_process(trap).exit_code, 3);
    sandbox.launch_process("sleep 1000");
    sandbox.launch_process("sleep 1000 & setsid sleep 1000");
    EXPECT_EQ(sandbox.kill_all_processes(), 2);
    EXPECT_EQ(sandbox.kill_all_processes(), 0);
    EXPECT_TRUE(eventually([] { return daemon().offspring().empty(); }));
}

TEST(Processes, LogsGoOnFromAnyId) {
    Sandbox sandbox = e2e::connect();
    const std::string id = sandbox.launch_process("seq 1 500");
    std::vector<LogEvent> events;
    LogStream whole = sandbox.process_logs(id);
    while (auto event = whole.next()) events.push_back(std::move(*event));
    ASSERT_EQ(events.size(), 500U);
    for (std::size_t at : {std::size_t{1}, std::size_t{250}, std::size_t{499}}) {
        LogStream rest = sandbox.process_logs(id, *events[at].id, false);
        for (std::size_t i = at; i < events.size(); ++i) {
            const auto event = rest.next();
            ASSERT_TRUE(event);
            EXPECT_EQ(event->id, events[i].id);
            EXPECT_EQ(event->data, events[i].data);
        }
        EXPECT_FALSE(rest.next());
    }
}

TEST(Ports, ExposedAndNot) {
    Sandbox sandbox = e2e::connect();
    // The target is another listener of ours that speaks first: the daemon's own API would be refused.
    e2e::Daemon target;
    const ExposedPort exposed = sandbox.expose_port(target.port());
    EXPECT_EQ(exposed.port, target.port());
    EXPECT_EQ(exposed.exposed_at, daemon().url());
    {
        e2e::RawSocket socket(daemon().proxy_port());
        socket.send("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        EXPECT_NE(socket.read_all().find(R"({"status":"ok"})"), std::string::npos);
    }
    EXPECT_THROW(sandbox.expose_port(daemon().port()), SandboxServiceError);
    sandbox.unexpose_port();
    sandbox.unexpose_port();
    e2e::RawSocket socket(daemon().proxy_port());
    EXPECT_EQ(socket.read_all(), "");
}

TEST(Secret, WrongAndRouted) {
    ConnectionInfo info = daemon().info("wrong");
    Sandbox wrong = Sandbox::connect(info);
    EXPECT_TRUE(wrong.is_healthy());
    try {
        wrong.exec("true");
        ADD_FAILURE();
    } catch (const SandboxServiceError& error) {
        EXPECT_EQ(error.status_code(), 401);
    }
    // The mount point of the platform's edge.
    info = daemon().info();
    info.url += "/koyeb-sandbox";
    EXPECT_EQ(Sandbox::connect(info).exec("echo hi").stdout_data, "hi\n");
}

TEST(Secret, APoolSecretOutlivesARestart) {
    const e2e::Folder dir;
    const e2e::Variables variables = {{"SANDBOX_AUTH_MODE", "pool"},
                                      {"SANDBOX_SECRET_PATH", dir / "pool/secret"}};
    {
        e2e::Daemon first(variables);
        EXPECT_EQ(Sandbox::connect(first.info("claimed")).exec("echo one").stdout_data, "one\n");
        EXPECT_THROW(Sandbox::connect(first.info("late")).exec("true"), SandboxServiceError);
        Sandbox::connect(first.info("claimed")).launch_process("sleep 1000");
        EXPECT_EQ(first.stop(), 0);
    }
    e2e::Daemon second(variables);
    EXPECT_THROW(Sandbox::connect(second.info("late")).exec("true"), SandboxServiceError);
    Sandbox sandbox = Sandbox::connect(second.info("claimed"));
    EXPECT_EQ(sandbox.exec("echo two").stdout_data, "two\n");
    EXPECT_TRUE(sandbox.list_processes().empty());
}

}  // namespace
