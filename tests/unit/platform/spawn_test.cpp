#include "platform/spawn.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/fanotify.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "support/census.hpp"
#include "support/child.hpp"
#include "support/folder.hpp"

namespace sandbox {
namespace {

using test::Folder;
using test::Outcome;
using test::run_child;
using test::shell;

class SpawnTest : public testing::Test {
  protected:
    void TearDown() override {
        census_.check();
        EXPECT_TRUE(test::has_no_children());
    }

  private:
    test::DescriptorCensus census_;
};

TEST_F(SpawnTest, OneThatIsGivenUpExecutesNothing) {
    Folder folder;
    SpawnSpec spec = shell("touch " + folder.path() + "/ran");
    int given_up = 1;
    spec.given_up = &given_up;
    Result<pid_t> pid = spawn(spec);
    ASSERT_FALSE(pid);
    EXPECT_EQ(pid.error().code, Errc::cancelled);
    EXPECT_FALSE(std::filesystem::exists(folder.path() + "/ran"));
    given_up = 0;
    EXPECT_EQ(run_child(spec).status.code(), 0);
    EXPECT_TRUE(std::filesystem::exists(folder.path() + "/ran"));
}

TEST_F(SpawnTest, EveryExitCodeIsTold) {
    for (int code = 0; code < 256; ++code) {
        Outcome outcome = run_child(shell("exit " + std::to_string(code)));
        ASSERT_TRUE(outcome.status.exited());
        ASSERT_EQ(outcome.status.code(), code);
        ASSERT_EQ(outcome.status.signal(), 0);
    }
}

TEST_F(SpawnTest, EverySignalThatEndsItIsTold) {
    for (int signal : {SIGTERM, SIGKILL, SIGINT, SIGHUP, SIGPIPE, SIGUSR1, SIGALRM, SIGRTMIN + 3}) {
        Outcome outcome = run_child(shell("ulimit -c 0; kill -" + std::to_string(signal) + " $$"));
        EXPECT_TRUE(outcome.status.signaled()) << signal;
        EXPECT_EQ(outcome.status.signal(), signal);
        EXPECT_EQ(outcome.status.code(), 128 + signal);
    }
}

TEST_F(SpawnTest, TheChildStartsWithoutOurSignalMaskAndDispositions) {
    Outcome outcome = run_child(shell("exec grep -E '^Sig(Blk|Ign)' /proc/self/status"));
    EXPECT_EQ(outcome.output, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    EXPECT_EQ(::sigismember(&mask, SIGTERM), 1) << "ours was not put back";
    EXPECT_EQ(::sigismember(&mask, SIGSEGV), 0);
}

constexpr const char* kListDescriptors =
    "for i in 0 1 2 3 4 5 6 7 8 9 10 20 40 63 200; do if [ -e /proc/self/fd/$i ]; then echo $i; fi; done";

TEST_F(SpawnTest, NoDescriptorOfOursReachesTheChild) {
    std::array<UniqueFd, 3> strays;
    for (std::size_t i = 0; i < strays.size(); ++i) {
        constexpr int kNumbers[] = {20, 63, 200};
        strays[i] = UniqueFd(::fcntl(0, F_DUPFD, kNumbers[i]));  // Not close-on-exec, on purpose.
    }
    EXPECT_EQ(run_child(shell(kListDescriptors)).output, "0\n1\n2\n");
}

TEST_F(SpawnTest, AnExtraDescriptorBecomesNumberThree) {
    auto pipe = make_pipe();
    ASSERT_TRUE(pipe);
    SpawnSpec spec = shell(std::string(kListDescriptors) + "; cat <&3");
    spec.extra_fd = pipe->first.get();
    ASSERT_EQ(::write(pipe->second.get(), "script", 6), 6);
    pipe->second.reset();
    EXPECT_EQ(run_child(spec).output, "0\n1\n2\n3\nscript");
}

TEST_F(SpawnTest, OneDescriptorMayServeSeveralStreams) {
    auto pipe = make_pipe();
    ASSERT_TRUE(pipe);
    SpawnSpec spec = shell("echo out; echo err >&2");
    spec.stdout_fd = spec.stderr_fd = pipe->second.get();
    auto pid = spawn(spec);
    ASSERT_TRUE(pid);
    pipe->second.reset();
    EXPECT_EQ(test::read_to_end(pipe->first.get()), "out\nerr\n");
    EXPECT_EQ(test::wait_for(*pid).code(), 0);
}

// The standard numbers as sources for each other: each target gets what its source was before the spawn.
TEST_F(SpawnTest, StandardDescriptorsMayBeSwapped) {
    std::array<std::pair<UniqueFd, UniqueFd>, 3> pipes;
    std::array<UniqueFd, 3> saved;
    for (std::size_t i = 0; i < pipes.size(); ++i) {
        auto pipe = make_pipe();
        ASSERT_TRUE(pipe);
        pipes[i] = std::move(*pipe);
        saved[i] = UniqueFd(::fcntl(static_cast<int>(i), F_DUPFD_CLOEXEC, 10));
        ASSERT_GE(::dup2(pipes[i].second.get(), static_cast<int>(i)), 0);
        pipes[i].second.reset();
    }
    SpawnSpec spec = shell("echo zero >&0; echo one; echo two >&2");
    spec.stdin_fd = 1;
    spec.stdout_fd = 2;
    spec.stderr_fd = 0;
    auto pid = spawn(spec);
    for (std::size_t i = 0; i < pipes.size(); ++i) ::dup2(saved[i].get(), static_cast<int>(i));
    ASSERT_TRUE(pid);
    EXPECT_EQ(test::read_to_end(pipes[1].first.get()), "zero\n");
    EXPECT_EQ(test::read_to_end(pipes[2].first.get()), "one\n");
    EXPECT_EQ(test::read_to_end(pipes[0].first.get()), "two\n");
    EXPECT_EQ(test::wait_for(*pid).code(), 0);
}

TEST_F(SpawnTest, ASessionOfItsOwnOrOurs) {
    auto ids = [](bool new_session) {
        SpawnSpec spec = shell("cat /proc/$$/stat");
        spec.new_session = new_session;
        std::istringstream fields(run_child(spec).output);
        std::string name;
        std::string state;
        std::array<pid_t, 4> numbers{};  // pid, ppid, pgrp, session
        fields >> numbers[0] >> name >> state >> numbers[1] >> numbers[2] >> numbers[3];
        return numbers;
    };
    auto own = ids(true);
    EXPECT_EQ(own[1], ::getpid());
    EXPECT_EQ(own[2], own[0]);
    EXPECT_EQ(own[3], own[0]);
    auto ours = ids(false);
    EXPECT_EQ(ours[2], ::getpgrp());
    EXPECT_EQ(ours[3], ::getsid(0));
}

TEST_F(SpawnTest, TheEnvironmentIsExactlyWhatWasGiven) {
    SpawnSpec spec;
    spec.program = "/usr/bin/env";
    spec.argv = {"env"};
    spec.env = {"A=1", "EMPTY=", "LONG=" + std::string(100'000, 'x'), "ODD=a=b\nc"};
    EXPECT_EQ(run_child(spec).output, "A=1\nEMPTY=\nLONG=" + std::string(100'000, 'x') + "\nODD=a=b\nc\n");
    spec.env.clear();
    EXPECT_EQ(run_child(spec).output, "");
}

TEST_F(SpawnTest, AProgramPathIsRelativeToTheWorkingDirectory) {
    Folder folder;
    folder.file("tool", "#!/bin/sh\nexec pwd\n", 0755);
    SpawnSpec spec = shell("");
    spec.program = "./tool";
    spec.argv = {"tool"};
    spec.cwd = folder.path();
    EXPECT_EQ(run_child(spec).output, folder.path() + "\n");
}

TEST_F(SpawnTest, LimitsAndOomScore) {
    SpawnSpec spec = shell("ulimit -Sn; cat /proc/self/oom_score_adj");
    spec.nofile_soft = 77;
    spec.oom_score_adj = 123;
    EXPECT_EQ(run_child(spec).output, "77\n123\n");
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    spec.nofile_soft = limit.rlim_max + 1000;  // Cut to what is allowed.
    spec.oom_score_adj = 0;
    Outcome outcome = run_child(spec);
    EXPECT_EQ(outcome.output.substr(0, outcome.output.find('\n')), std::to_string(limit.rlim_max));
}

TEST_F(SpawnTest, AnotherUser) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    SpawnSpec spec = shell("id -u; id -g; id -G; test -w / || echo unprivileged");
    spec.user = Credentials{65534, 65533, {65533, 4242, 4243}};
    EXPECT_EQ(run_child(spec).output, "65534\n65533\n65533 4242 4243\nunprivileged\n");
}

TEST_F(SpawnTest, AControllingTerminal) {
    UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_TRUE(master);
    ASSERT_EQ(::unlockpt(master.get()), 0);
    char name[64];
    ASSERT_EQ(::ptsname_r(master.get(), name, sizeof name), 0);
    UniqueFd slave(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_TRUE(slave);
    SpawnSpec spec = shell("tty; echo own >/dev/tty");
    spec.stdin_fd = spec.stdout_fd = spec.stderr_fd = slave.get();
    spec.controlling_tty = true;
    auto pid = spawn(spec);
    ASSERT_TRUE(pid) << pid.error().message;
    EXPECT_EQ(test::wait_for(*pid).code(), 0);
    slave.reset();
    EXPECT_EQ(test::read_to_end(master.get()), std::string(name) + "\r\nown\r\n");
}

TEST_F(SpawnTest, ACgroupThatCannotBeHadIsDoneWithout) {
    UniqueFd not_a_cgroup(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    SpawnSpec spec = shell("echo here");
    spec.cgroup_fd = not_a_cgroup.get();
    EXPECT_EQ(run_child(spec).output, "here\n");
    bool in_cgroup = true;
    Result<pid_t> pid = spawn(spec, &in_cgroup);
    ASSERT_TRUE(pid);
    EXPECT_FALSE(in_cgroup);
    EXPECT_EQ(test::wait_for(*pid).code(), 0);
    Launcher launcher;
    in_cgroup = true;
    pid = launcher.launch(spec, &in_cgroup);
    ASSERT_TRUE(pid);
    EXPECT_FALSE(in_cgroup);
    EXPECT_EQ(test::wait_for(*pid).code(), 0);
}

TEST_F(SpawnTest, WhatCannotStartNamesStageAndReasonAndLeavesNothing) {
    Folder folder;
    std::string plain = folder.file("plain", "#!/bin/sh\n", 0644);
    auto failure = [](const SpawnSpec& spec) {
        auto pid = spawn(spec);
        EXPECT_FALSE(pid);
        EXPECT_TRUE(test::has_no_children());
        return pid ? Error{} : pid.error();
    };
    SpawnSpec spec = shell("");
    spec.program = "/no/such/program";
    Error error = failure(spec);
    EXPECT_EQ(error.message, "exec /no/such/program: no such file or directory");
    EXPECT_EQ(error.code, Errc::not_found);
    EXPECT_EQ(error.sys_errno, ENOENT);

    spec.program = plain;
    EXPECT_EQ(failure(spec).message, "exec " + plain + ": permission denied");
    spec.program = folder.path();
    EXPECT_EQ(failure(spec).code, Errc::permission_denied);

    spec = shell("");
    spec.cwd = "/no/such/folder";
    EXPECT_EQ(failure(spec).message, "chdir /no/such/folder: no such file or directory");
    spec.cwd = plain;
    EXPECT_EQ(failure(spec).message, "chdir " + plain + ": not a directory");

    spec = shell(std::string(200 * 1024, ' '));
    EXPECT_EQ(failure(spec).message, "exec /bin/sh: argument list too long");
    spec = shell("");
    spec.env = {"BIG=" + std::string(200 * 1024, ' ')};
    EXPECT_EQ(failure(spec).sys_errno, E2BIG);

    spec = shell("");
    spec.stdout_fd = 987;
    EXPECT_EQ(failure(spec).message, "connect standard streams: bad file descriptor");
}

TEST_F(SpawnTest, NulBytesAreRefused) {
    const std::string nul("a\0b", 3);
    SpawnSpec spec = shell(nul);
    EXPECT_EQ(spawn(spec).error().message, "exec: argument contains NUL");
    spec = shell("");
    spec.env = {"A=" + nul};
    EXPECT_EQ(spawn(spec).error().message, "exec: environment variable contains NUL");
    spec = shell("");
    spec.cwd = nul;
    EXPECT_EQ(spawn(spec).error().code, Errc::invalid_argument);
    spec = shell("");
    spec.program = nul;
    EXPECT_EQ(spawn(spec).error().code, Errc::invalid_argument);
}

TEST_F(SpawnTest, UsersThatCannotBeSwitchedTo) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    Folder folder;
    std::filesystem::create_directory(folder.path() + "/closed");
    ::chmod((folder.path() + "/closed").c_str(), 0700);
    SpawnSpec spec = shell("");
    spec.user = Credentials{65534, 65534, {}};
    spec.cwd = folder.path() + "/closed";
    EXPECT_EQ(spawn(spec).error().message, "chdir " + spec.cwd + ": permission denied");
}

TEST_F(SpawnTest, ManyThreadsSpawnAtOnce) {
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 6; ++t) {
        threads.emplace_back([&wrong, t] {
            for (int i = 0; i < 100; ++i) {
                int code = (t * 31 + i) % 256;
                bool missing = i % 5 == 0;
                SpawnSpec spec = shell("exit " + std::to_string(code));
                if (missing) spec.program = "/no/such/program";
                auto pid = spawn(spec);
                if (missing) {
                    if (pid || pid.error().sys_errno != ENOENT) ++wrong;
                } else if (!pid || test::wait_for(*pid).code() != code) {
                    ++wrong;
                }
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
}

TEST_F(SpawnTest, ThreadsThatEndLeaveNoMemoryBehind) {
    auto shared_pages = [] {
        std::ifstream maps("/proc/self/maps");
        std::string line;
        int count = 0;
        while (std::getline(maps, line)) count += line.find("/dev/zero") != std::string::npos ? 1 : 0;
        return count;
    };
    run_child(shell(""));
    int before = shared_pages();
    EXPECT_GT(before, 0) << "this test looks for the wrong thing";
    for (int i = 0; i < 20; ++i) std::thread([] { run_child(shell("")); }).join();
    EXPECT_EQ(shared_pages(), before);
}

TEST(FindProgram, TheFirstExecutableFileOfThePathCounts) {
    Folder folder;
    for (const char* name : {"a", "b", "b/dir"})
        std::filesystem::create_directory(folder.path() + "/" + name);
    folder.file("a/plain", "", 0644);
    folder.file("a/only-a", "", 0755);
    folder.file("b/plain", "", 0755);
    folder.file("here", "", 0755);
    const std::string a = folder.path() + "/a";
    const std::string b = folder.path() + "/b";
    auto found = [&](const std::string& name, const std::string& path, const std::string& cwd = "") {
        auto result = find_program(name, path, cwd);
        return result ? *result : "error: " + result.error().message;
    };
    EXPECT_EQ(found("only-a", b + ":" + a), a + "/only-a");
    EXPECT_EQ(found("plain", a + ":" + b), b + "/plain") << "what is not executable is passed over";
    EXPECT_EQ(found("plain", a), "error: exec plain: permission denied");
    EXPECT_EQ(found("dir", b), "error: exec dir: executable file not found in PATH");
    EXPECT_EQ(found("none", a + ":" + b), "error: exec none: executable file not found in PATH");
    EXPECT_EQ(found("here", a + "::" + b, folder.path()), "./here")
        << "an empty element is the working directory";
    EXPECT_EQ(found("here", a + ":", folder.path()), "./here");
    EXPECT_EQ(found("only-a", "a", folder.path()), "a/only-a");
    EXPECT_EQ(found("a/only-a", ""), "a/only-a") << "a name with a slash is not looked up";
    EXPECT_FALSE(find_program("", a, ""));
    EXPECT_EQ(find_program("none", a, "").error().code, Errc::not_found);
    EXPECT_EQ(find_program("plain", a, "").error().code, Errc::permission_denied);
}

TEST_F(SpawnTest, ALaunchedChildIsAsASpawnedOne) {
    Launcher launcher;
    auto pipe = make_pipe();
    SpawnSpec spec = shell("echo $GREETING; cat /proc/$$/stat; exit 3");
    spec.env.push_back("GREETING=hi");
    spec.stdout_fd = pipe->second.get();
    auto pid = launcher.launch(std::move(spec));
    ASSERT_TRUE(pid) << pid.error().message;
    pipe->second.reset();
    std::istringstream output(test::read_to_end(pipe->first.get()));
    std::string greeting, stat_pid, name, state, parent, group, session;
    output >> greeting >> stat_pid >> name >> state >> parent >> group >> session;
    EXPECT_EQ(greeting, "hi");
    EXPECT_EQ(session, std::to_string(*pid));
    EXPECT_EQ(test::wait_for(*pid).code(), 3);
    EXPECT_FALSE(launcher.ended(*pid));
}

TEST_F(SpawnTest, ManyAreLaunchedAtOnce) {
    Launcher launcher;
    std::vector<pid_t> pids;
    for (int i = 0; i < 50; ++i) {
        auto pid = launcher.launch(shell("exit " + std::to_string(i)));
        ASSERT_TRUE(pid) << pid.error().message;
        pids.push_back(*pid);
    }
    for (int i = 0; i < 50; ++i) {
        pid_t pid = pids[static_cast<std::size_t>(i)];
        EXPECT_EQ(test::wait_for(pid).code(), i);
        EXPECT_FALSE(launcher.ended(pid));
    }
}

TEST_F(SpawnTest, WhatALaunchedChildCouldNotDoIsToldAtItsEnd) {
    Launcher launcher;
    auto failure = [&](SpawnSpec spec) {
        auto pid = launcher.launch(std::move(spec));
        EXPECT_TRUE(pid);
        EXPECT_EQ(test::wait_for(*pid).code(), 127);
        std::optional<Error> told = launcher.ended(*pid);
        return told ? told->message : "nothing";
    };
    SpawnSpec spec = shell("");
    spec.program = "/no/such/program";
    EXPECT_EQ(failure(spec), "exec /no/such/program: no such file or directory");
    spec = shell("");
    spec.cwd = "/no/such/folder";
    EXPECT_EQ(failure(spec), "chdir /no/such/folder: no such file or directory");
    spec = shell(std::string("a\0b", 3));
    EXPECT_EQ(launcher.launch(spec).error().message, "exec: argument contains NUL");
}

// A program whose execve(2) hangs until somebody allows it, as on a file system that does not answer.
class SlowProgram {
  public:
    explicit SlowProgram(const std::string& path)
        : events_(::fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY | O_CLOEXEC)) {
        if (!events_) return;
        hangs_ =
            ::fanotify_mark(events_.get(), FAN_MARK_ADD, FAN_OPEN_EXEC_PERM, AT_FDCWD, path.c_str()) == 0;
    }
    bool hangs() const { return hangs_; }
    void allow() const {
        fanotify_event_metadata event{};
        ASSERT_GT(::read(events_.get(), &event, sizeof event), 0);
        const fanotify_response answer{event.fd, FAN_ALLOW};
        EXPECT_EQ(::write(events_.get(), &answer, sizeof answer), static_cast<ssize_t>(sizeof answer));
        ::close(event.fd);
    }

  private:
    UniqueFd events_;
    bool hangs_ = false;
};

TEST_F(SpawnTest, ALaunchDoesNotWaitForAProgramThatHangs) {
    Folder folder;
    std::filesystem::copy_file("/bin/true", folder.path() + "/slow");
    std::optional<SlowProgram> slow(std::in_place, folder.path() + "/slow");
    if (!slow->hangs()) GTEST_SKIP() << "fanotify(7) with permission events is not to be had here";
    Launcher launcher;
    SpawnSpec spec = shell("");
    spec.program = folder.path() + "/slow";
    auto pid = launcher.launch(std::move(spec));  // It would hang here.
    ASSERT_TRUE(pid) << pid.error().message;
    // Others are started meanwhile.
    auto other = launcher.launch(shell("exit 5"));
    ASSERT_TRUE(other) << other.error().message;
    EXPECT_EQ(test::wait_for(*other).code(), 5);
    EXPECT_FALSE(launcher.ended(*other));
    siginfo_t info{};
    EXPECT_EQ(::waitid(P_PID, static_cast<id_t>(*pid), &info, WEXITED | WNOHANG | WNOWAIT), 0);
    EXPECT_EQ(info.si_pid, 0) << "it cannot have ended";
    slow->allow();
    EXPECT_EQ(test::wait_for(*pid).code(), 0);
    EXPECT_FALSE(launcher.ended(*pid));
    slow.reset();
}

}  // namespace
}  // namespace sandbox
