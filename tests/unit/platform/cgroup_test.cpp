#include "platform/cgroup.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <fstream>
#include <optional>
#include <set>
#include <vector>

#include "platform/descriptor_reserve.hpp"
#include "platform/process_tree.hpp"
#include "support/census.hpp"
#include "support/child.hpp"
#include "support/used_up_descriptors.hpp"

namespace sandbox {
namespace {

using test::Child;
using test::eventually;

class CgroupTest : public testing::Test {
  protected:
    void SetUp() override {
        if (!pool_.available()) GTEST_SKIP() << "no cgroup can be made here";
    }
    void TearDown() override { EXPECT_TRUE(test::reap_all()); }

    static void set(Cgroup& cgroup, const std::string& file, const std::string& value) {
        std::ofstream(cgroup.path() + "/" + file) << value;
    }
    // Takes one, lets `use` at it, gives it back, and tells whether the next command gets the same.
    template <class Use>
    bool used_again_after(Use use) {
        std::unique_ptr<Cgroup> cgroup = pool_.take();
        std::string path = cgroup->path();
        use(*cgroup);
        cgroup->close_fds();
        pool_.give_back(std::move(cgroup));
        std::unique_ptr<Cgroup> next = pool_.take();
        bool same = next->path() == path;
        EXPECT_TRUE(same || ::access(path.c_str(), F_OK) != 0) << "what is not used again is removed";
        pool_.give_back(std::move(next));
        return same;
    }

    CgroupPool pool_{true};
};

SpawnSpec within(Cgroup& cgroup, std::string script) {
    SpawnSpec spec = test::shell(std::move(script));
    spec.cgroup_fd = cgroup.fd();
    return spec;
}

TEST_F(CgroupTest, OneInWhichACommandCameToItsEndIsUsedAgain) {
    EXPECT_TRUE(used_again_after([](Cgroup& cgroup) {
        Child child(within(cgroup, "echo up; read line"));
        EXPECT_EQ(child.line(), "up\n");
        EXPECT_TRUE(cgroup.populated());
        child.close_stdin();
        EXPECT_TRUE(eventually([&] { return !cgroup.populated(); }));
    }));
}

TEST_F(CgroupTest, OneThatWasKilledIsNot) {
    EXPECT_FALSE(used_again_after([](Cgroup& cgroup) { cgroup.kill(); }));
}

TEST_F(CgroupTest, OneThatWasFrozenOrLimitedIsNotAlsoWhenThatWasTakenBack) {
    EXPECT_FALSE(used_again_after([](Cgroup& cgroup) {
        set(cgroup, "cgroup.freeze", "1");
        set(cgroup, "cgroup.freeze", "0");
    }));
    EXPECT_FALSE(used_again_after([](Cgroup& cgroup) { set(cgroup, "cgroup.max.descendants", "0"); }));
}

TEST_F(CgroupTest, OneThatHasGotCgroupsBelowItIsNot) {
    EXPECT_FALSE(used_again_after(
        [](Cgroup& cgroup) { EXPECT_EQ(::mkdir((cgroup.path() + "/below").c_str(), 0755), 0); }));
}

TEST_F(CgroupTest, OneOfAnotherOwnerOrModeIsNot) {
    EXPECT_FALSE(used_again_after(
        [](Cgroup& cgroup) { EXPECT_EQ(::chmod((cgroup.path() + "/cgroup.freeze").c_str(), 0666), 0); }));
}

TEST_F(CgroupTest, OneChangedWhileItWasSpareIsNot) {
    std::unique_ptr<Cgroup> first = pool_.take();
    std::string path = first->path();
    pool_.give_back(std::move(first));
    std::ofstream(path + "/cgroup.freeze") << "1";
    std::unique_ptr<Cgroup> next = pool_.take();
    EXPECT_NE(next->path(), path);
    pool_.give_back(std::move(next));
}

TEST_F(CgroupTest, OneWithSomebodyLeftInItIsNotUntilItIsEmptyAndIsThenRemoved) {
    std::unique_ptr<Cgroup> cgroup = pool_.take();
    std::string path = cgroup->path();
    Child child(within(*cgroup, "echo up; read line"));
    EXPECT_EQ(child.line(), "up\n");
    pool_.give_back(std::move(cgroup));
    std::unique_ptr<Cgroup> next = pool_.take();
    EXPECT_NE(next->path(), path);
    child.close_stdin();
    EXPECT_TRUE(eventually([&] {
        pool_.give_back(pool_.take());
        return ::access(path.c_str(), F_OK) != 0;
    }));
    pool_.give_back(std::move(next));
}

TEST_F(CgroupTest, ItsProcessesAreToldAndKilledWhenDescriptorsAreUsedUp) {
    std::unique_ptr<Cgroup> cgroup = pool_.take();
    Child child(within(*cgroup, "echo up; read line"));
    EXPECT_EQ(child.line(), "up\n");
    using Pids = std::vector<pid_t>;
    {
        test::UsedUpDescriptors used_up(false);
        EXPECT_EQ(cgroup->processes(), Pids(1, child.pid()));
        std::vector<UniqueFd> held;
        while (UniqueFd fd = descriptor_reserve().open("/", O_PATH)) held.push_back(std::move(fd));
        EXPECT_EQ(cgroup->processes(), std::nullopt);
        TreeId tree{child.pid(), false, "none"};
        std::set<ProcessKey> nobody;
        EXPECT_EQ(signal_tree(tree, cgroup.get(), 0, nobody), std::nullopt);
        for (UniqueFd& fd : held) descriptor_reserve().put_back(std::move(fd));
        cgroup->kill();
    }
    EXPECT_EQ(test::wait_for(child.pid()).signal(), SIGKILL);
    EXPECT_EQ(cgroup->processes(), Pids());
    const Cgroup none(cgroup->path() + "/none", -1);
    EXPECT_EQ(none.processes(), Pids()) << "one that is gone has none";
    pool_.give_back(std::move(cgroup));
}

}  // namespace
}  // namespace sandbox
