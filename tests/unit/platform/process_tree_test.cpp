#include "platform/process_tree.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <optional>
#include <vector>

#include "platform/descriptor_reserve.hpp"
#include "support/census.hpp"
#include "support/child.hpp"
#include "support/used_up_descriptors.hpp"

namespace sandbox {
namespace {

using test::Child;
using test::eventually;

SpawnSpec marked(const std::string& marker, std::string script) {
    SpawnSpec spec = test::shell(std::move(script));
    spec.env.push_back(std::string(kMarkerVariable) + "=" + marker);
    return spec;
}

char state_of(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    std::getline(file, text);
    std::size_t end = text.rfind(')');
    return end == std::string::npos ? '-' : text[end + 2];
}

std::optional<std::size_t> count(TreeId tree) {
    std::set<ProcessKey> nobody;
    return signal_tree(tree, nullptr, 0, nobody);
}

std::optional<std::size_t> send(TreeId tree, int signal) {
    std::set<ProcessKey> fresh;
    return signal_tree(tree, nullptr, signal, fresh);
}

class ProcessTreeTest : public testing::Test {
  protected:
    void TearDown() override {
        // A failed test must not leave its processes to the next.
        if (HasFailure()) signal_descendants(SIGKILL, 0);
        EXPECT_TRUE(test::reap_all());
        census_.check();
    }

  private:
    test::DescriptorCensus census_;
};

TEST_F(ProcessTreeTest, GrandchildrenAreMembersAlsoInSessionsOfTheirOwn) {
    Child child(
        marked("m1", "sleep 1000 & setsid sleep 1000 & setsid -f sh -c 'sleep 1000 & echo up; wait' & wait"));
    EXPECT_EQ(child.line(), "up\n");
    TreeId tree{child.pid(), false, "m1"};
    // The shell, two sleeps, the shell in a session of its own and its sleep.
    EXPECT_TRUE(eventually([&] { return count(tree) == 5; })) << testing::PrintToString(count(tree));
    EXPECT_EQ(send(tree, SIGKILL), 5U);
    EXPECT_TRUE(test::reap_all());
    EXPECT_EQ(count(tree), 0U);
}

TEST_F(ProcessTreeTest, AnEmptiedEnvironmentIsFoundByTheParentChain) {
    Child child(marked("m2", "setsid env -i /bin/sh -c 'sleep 1000 & wait' & echo up; wait"));
    EXPECT_EQ(child.line(), "up\n");
    TreeId tree{child.pid(), false, "m2"};
    EXPECT_TRUE(eventually([&] { return count(tree) == 3; })) << testing::PrintToString(count(tree));
    send(tree, SIGKILL);
    EXPECT_TRUE(test::reap_all());
}

TEST_F(ProcessTreeTest, TheSessionOfAKnownMemberStaysPartOfTheTree) {
    SpawnSpec spec = marked(
        "m9",
        "exec 3<&0; setsid env -i /bin/sh -c 'echo $$; read line; sleep 1000 & echo $!; wait' <&3 & wait");
    auto in = make_pipe();
    auto out = make_pipe();
    ASSERT_TRUE(in && out);
    spec.stdin_fd = in->first.get();
    spec.stdout_fd = out->second.get();
    auto leader = spawn(spec);
    ASSERT_TRUE(leader);
    pid_t inner = std::stoi(test::read_line(out->first.get()));
    TreeId tree{*leader, false, "m9"};
    std::set<ProcessKey> nobody;
    EXPECT_TRUE(eventually([&] { return signal_tree(tree, nullptr, 0, nobody) == 2; }));
    ASSERT_EQ(::write(in->second.get(), "\n", 1), 1);
    test::read_line(out->first.get());  // There is a child now that nobody has looked at.
    ::kill(inner, SIGKILL);
    EXPECT_EQ(test::wait_for(*leader).code(), 0);
    EXPECT_EQ(state_of(inner), '-') << "its parent has waited for it";
    tree.leader_reaped = true;
    EXPECT_EQ(signal_tree(tree, nullptr, SIGKILL, nobody), 1U)
        << "an emptied environment, a session of its own, and no parent";
    EXPECT_TRUE(test::reap_all());
}

TEST_F(ProcessTreeTest, WhatOutlivesTheLeaderIsFoundBySessionAndByMarker) {
    Child child(marked("m3", "env -i sleep 1000 & setsid -f sleep 1000; echo up"));
    EXPECT_EQ(child.line(), "up\n");
    EXPECT_EQ(test::wait_for(child.pid()).code(), 0);
    TreeId tree{child.pid(), true, "m3"};
    EXPECT_TRUE(eventually([&] { return count(tree) == 2; })) << testing::PrintToString(count(tree));
    EXPECT_EQ(send(tree, SIGTERM), 2U);
    EXPECT_TRUE(test::reap_all());
    EXPECT_EQ(count(tree), 0U);
}

TEST_F(ProcessTreeTest, OthersAreLeftAlone) {
    Child mine(marked("mine", "echo up; read line"));
    Child other(marked("mine-too", "echo up; read line; echo lived"));
    Child unmarked(test::shell("echo up; read line; echo lived"));
    EXPECT_EQ(mine.line(), "up\n");
    EXPECT_EQ(other.line(), "up\n");
    EXPECT_EQ(unmarked.line(), "up\n");
    TreeId tree{mine.pid(), false, "mine"};
    EXPECT_EQ(send(tree, SIGKILL), 1U);
    EXPECT_EQ(test::wait_for(mine.pid()).signal(), SIGKILL);
    other.close_stdin();
    unmarked.close_stdin();
    EXPECT_EQ(other.rest(), "lived\n");
    EXPECT_EQ(unmarked.rest(), "lived\n");
}

TEST_F(ProcessTreeTest, TheMarkerIsAWholeVariable) {
    SpawnSpec spec = test::shell("echo up; read line");
    spec.env.push_back("X" + std::string(kMarkerVariable) + "=m4");
    spec.env.push_back(std::string(kMarkerVariable) + "=m44");
    spec.env.push_back("TEXT=" + std::string(kMarkerVariable) + "=m4");
    Child child(spec);
    EXPECT_EQ(child.line(), "up\n");
    TreeId somebody_elses{1, true, "m4"};
    EXPECT_EQ(count(somebody_elses), 0U);
    child.close_stdin();
}

TEST_F(ProcessTreeTest, AStoppedProcessGetsToActOnSigterm) {
    Child child(
        marked("m5", "trap 'echo bye; exit 7' TERM; echo up; kill -STOP $$; while :; do read line; done"));
    EXPECT_EQ(child.line(), "up\n");
    EXPECT_TRUE(eventually([&] { return state_of(child.pid()) == 'T'; }));
    TreeId tree{child.pid(), false, "m5"};
    EXPECT_EQ(send(tree, SIGTERM), 1U);
    EXPECT_EQ(child.line(), "bye\n");
    EXPECT_EQ(test::wait_for(child.pid()).code(), 7);
}

TEST_F(ProcessTreeTest, NobodyIsSignalledTwice) {
    // WINCH is above TERM in number: a shell runs the traps of two pending signals in that order.
    Child child(marked(
        "m6", "trap 'echo term' TERM; trap 'echo bye; exit' WINCH; echo up; while :; do sleep 0.02; done"));
    EXPECT_EQ(child.line(), "up\n");
    TreeId tree{child.pid(), false, "m6"};
    std::set<ProcessKey> already;
    EXPECT_GE(signal_tree(tree, nullptr, SIGTERM, already), 1U);
    EXPECT_GE(already.size(), 1U);
    EXPECT_EQ(child.line(), "term\n");
    EXPECT_GE(signal_tree(tree, nullptr, SIGTERM, already), 1U) << "it is still a living member";
    send(tree, SIGWINCH);
    EXPECT_EQ(child.rest(), "bye\n");
}

TEST_F(ProcessTreeTest, ZombiesDoNotLive) {
    Child child(marked("m7", "exit 3"));
    EXPECT_TRUE(eventually([&] { return state_of(child.pid()) == 'Z'; }));
    TreeId tree{child.pid(), false, "m7"};
    EXPECT_EQ(count(tree), 0U);
    EXPECT_EQ(send(tree, SIGKILL), 0U);
    EXPECT_EQ(test::wait_for(child.pid()).code(), 3);
}

TEST_F(ProcessTreeTest, AllDescendantsButOneTree) {
    Child spared(test::shell("exec 3<&0; sh -c 'echo up; read line; echo lived' <&3 & wait"));
    Child first(test::shell("setsid env -i /bin/sh -c 'sleep 1000 & echo up; wait' & wait"));
    Child second(marked("m8", "echo up; kill -STOP $$"));
    EXPECT_EQ(first.line(), "up\n");
    EXPECT_EQ(second.line(), "up\n");
    EXPECT_EQ(spared.line(), "up\n");
    EXPECT_TRUE(eventually([&] { return state_of(second.pid()) == 'T'; }));
    EXPECT_GE(signal_descendants(SIGTERM, spared.pid()), 3U);
    spared.close_stdin();
    EXPECT_EQ(spared.rest(), "lived\n");
    EXPECT_TRUE(eventually([&] { return signal_descendants(0, spared.pid()) == 0; }));
    EXPECT_EQ(test::wait_for(spared.pid()).code(), 0);
    EXPECT_EQ(test::wait_for(second.pid()).signal(), SIGTERM);
}

// The leader is gone, so that all who live must be found in /proc.
class OrphansTest : public ProcessTreeTest {
  protected:
    static constexpr std::size_t kOrphans = 2;

    void SetUp() override {
        // Blocked in a builtin: while execve(2) goes on there is no environment to be seen.
        const std::string orphan = "setsid -f sh -c 'echo up; read line'; ";
        child_.emplace(marked("m10", orphan + orphan));
        EXPECT_EQ(child_->line(), "up\n");
        EXPECT_EQ(child_->line(), "up\n");
        EXPECT_EQ(test::wait_for(child_->pid()).code(), 0);
        tree_ = TreeId{child_->pid(), true, "m10"};
        ASSERT_EQ(count(tree_), kOrphans);
    }
    void TearDown() override {
        EXPECT_EQ(send(tree_, SIGKILL), kOrphans) << "with descriptors again";
        child_.reset();
        ProcessTreeTest::TearDown();
    }

    std::optional<Child> child_;
    TreeId tree_;
};

TEST_F(OrphansTest, AreFoundWithDescriptorsHeldBackWhenAllOthersAreUsedUp) {
    test::UsedUpDescriptors used_up(false);
    for (int i = 0; i < 100; ++i) ASSERT_EQ(count(tree_), kOrphans);
    EXPECT_GE(signal_descendants(0, 0), kOrphans);
}

TEST_F(OrphansTest, AreNotTakenForGoneWhenTheyCannotBeLookedAt) {
    test::UsedUpDescriptors used_up(true);
    std::vector<UniqueFd> held;
    for (int i = 0; i < 100; ++i) {
        const std::optional<std::size_t> living = count(tree_);
        EXPECT_TRUE(!living || *living == kOrphans) << *living;
        const std::optional<std::size_t> descendants = signal_descendants(0, 0);
        EXPECT_TRUE(!descendants || *descendants >= kOrphans) << *descendants;
    }
    // Now for certain.
    while (UniqueFd fd = descriptor_reserve().open("/", O_PATH)) held.push_back(std::move(fd));
    EXPECT_EQ(count(tree_), std::nullopt);
    EXPECT_EQ(signal_descendants(SIGTERM, 0), std::nullopt);
    TreeId with_leader{::getpid(), false, "m10"};
    EXPECT_EQ(count(with_leader), std::nullopt);
}

TEST_F(OrphansTest, TheLeadersNumberIsNobodysWhenItCannotBeLookedAt) {
    Child other(test::shell("echo up; read line; echo lived"));
    EXPECT_EQ(other.line(), "up\n");
    TreeId recycled{other.pid(), true, "m11"};
    {
        test::UsedUpDescriptors used_up(true);
        for (int i = 0; i < 100; ++i) send(recycled, SIGKILL);
    }
    other.close_stdin();
    EXPECT_EQ(other.rest(), "lived\n");
    EXPECT_EQ(test::wait_for(other.pid()).code(), 0);
}

}  // namespace
}  // namespace sandbox
