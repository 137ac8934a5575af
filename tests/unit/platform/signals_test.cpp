#include "platform/signals.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "support/loop_fixture.hpp"

namespace sandbox {
namespace {

class SignalsTest : public test::LoopTest {};

TEST_F(SignalsTest, TheProcessIsPrepared) {
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    for (int blocked : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCHLD, SIGUSR1, SIGUSR2, SIGALRM, SIGRTMIN,
                        SIGPIPE, SIGTSTP, SIGTTIN}) {
        EXPECT_EQ(::sigismember(&mask, blocked), 1) << blocked;
    }
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) {
        EXPECT_EQ(::sigismember(&mask, fault), 0) << fault;
    }
    for (int ignored : {SIGPIPE, SIGTTIN, SIGTTOU, SIGTSTP}) {
        struct sigaction action {};
        ::sigaction(ignored, nullptr, &action);
        EXPECT_EQ(action.sa_handler, SIG_IGN) << ignored;
    }
    int subreaper = 0;
    ASSERT_EQ(::prctl(PR_GET_CHILD_SUBREAPER, &subreaper), 0);
    EXPECT_TRUE(subreaper == 1 || ::getpid() == 1);
    char third[256] = {};
    EXPECT_GT(::readlink("/proc/self/fd/3", third, sizeof third - 1), 0) << "number 3 is free for the taking";
    EXPECT_STRNE(third, "/") << "what is given up and taken again must not have that number";
}

TEST_F(SignalsTest, InheritedDescriptorsAreKeptFromChildren) {
    UniqueFd inherited(::fcntl(0, F_DUPFD, 50));
    ASSERT_EQ(::fcntl(inherited.get(), F_GETFD), 0);
    prepare_process();
    EXPECT_EQ(::fcntl(inherited.get(), F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(::fcntl(0, F_GETFD), 0);
    EXPECT_EQ(::fcntl(1, F_GETFD), 0);
    EXPECT_EQ(::fcntl(2, F_GETFD), 0);
}

TEST_F(SignalsTest, ABrokenPipeOfOurOwnIsNoSignalFromOutside) {
    std::vector<int> seen;
    SignalSource source(loop_, [&](int signal, pid_t) { seen.push_back(signal); });
    int fds[2];
    ASSERT_EQ(::pipe2(fds, O_CLOEXEC), 0);
    ::close(fds[0]);
    EXPECT_EQ(::write(fds[1], "x", 1), -1);
    ::close(fds[1]);
    ::kill(::getpid(), SIGUSR1);
    drive_until([&] { return !seen.empty(); });
    EXPECT_EQ(seen, std::vector<int>{SIGUSR1});
}

TEST_F(SignalsTest, SignalsArriveOnTheLoop) {
    std::vector<int> seen;
    SignalSource source(loop_, [&](int signal, pid_t) { seen.push_back(signal); });
    for (int signal : {SIGTERM, SIGUSR1, SIGHUP}) ::kill(::getpid(), signal);
    EXPECT_TRUE(seen.empty());
    drive_until([&] { return seen.size() >= 3; });
    std::sort(seen.begin(), seen.end());
    std::vector<int> expected{SIGHUP, SIGUSR1, SIGTERM};
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(seen, expected);
    ::kill(::getpid(), SIGTERM);
    drive_until([&] { return seen.size() == 4; });
}

TEST_F(SignalsTest, NothingIsToldAfterTheEndAlsoWhenTheCallbackEndsIt) {
    auto captured = std::make_shared<int>(0);
    std::unique_ptr<SignalSource> source;
    source = std::make_unique<SignalSource>(loop_, [captured, &source](int, pid_t) {
        ++*captured;
        source.reset();
        ++*captured;  // What the callback holds lives until it returns.
    });
    ::kill(::getpid(), SIGUSR1);
    ::kill(::getpid(), SIGUSR2);
    test::run_loop(loop_);
    EXPECT_EQ(*captured, 2);
    EXPECT_EQ(captured.use_count(), 1);
    // Takes what is still pending.
    int rest = 0;
    source = std::make_unique<SignalSource>(loop_, [&](int, pid_t) { ++rest; });
    drive_for(std::chrono::milliseconds(10));
    source.reset();
    EXPECT_EQ(rest, 0) << "both were read, one was told";
}

TEST_F(SignalsTest, TheDescriptorLimitIsRaisedAndTheOldOneTold) {
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    rlimit lowered = before;
    lowered.rlim_cur = std::min<rlim_t>(before.rlim_max, 500);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &lowered), 0);
    EXPECT_EQ(raise_descriptor_limit(), lowered.rlim_cur);
    rlimit raised{};
    ::getrlimit(RLIMIT_NOFILE, &raised);
    EXPECT_EQ(raised.rlim_cur, raised.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace
}  // namespace sandbox
