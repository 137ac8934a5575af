#include "platform/users.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "support/folder.hpp"

namespace sandbox {
namespace {

using testing::ElementsAre;

class UsersTest : public testing::Test {
  protected:
    std::string file(const std::string& name, const std::string& text) {
        return folder_.file(name, text, 0644);
    }
    std::string missing() const { return folder_ / "missing"; }

    test::Folder folder_;
};

constexpr const char* kPasswd =
    "root:x:0:0:root:/root:/bin/bash\n"
    "# a comment:x:5:5::/:\n"
    "user:x:1000:1001:A User,,,:/home/user:/bin/sh\n"
    "twin:x:1000:1002::/home/twin:/bin/sh\n"
    "user:x:7:7::/second:/bin/sh\n"
    "42:x:4242:4242::/home/42:/bin/sh\n"
    "homeless:x:1005:1005\n"
    "bad:x:notanumber:0::/:\n"
    "huge:x:4294967295:0::/:\n"
    "short:x\n"
    "\n"
    "last:x:1006:1006::/home/last:/bin/zsh";
constexpr const char* kGroup =
    "root:x:0:\n"
    "staff:x:50:root,user\n"
    "user:x:1001:user\n"
    "docker:x:999:other,user,\n"
    "broken:x:\n"
    "twins:x:50:twin\n";

TEST_F(UsersTest, FindsByNameWithEverythingTheFilesSay) {
    Accounts accounts = Accounts::load(file("passwd", kPasswd), file("group", kGroup));
    auto user = accounts.find_user("user");
    ASSERT_TRUE(user);
    EXPECT_EQ(user->name, "user");
    EXPECT_EQ(user->uid, 1000U);
    EXPECT_EQ(user->gid, 1001U);
    EXPECT_THAT(user->groups, ElementsAre(1001, 50, 999));
    EXPECT_EQ(user->home, "/home/user");
    EXPECT_EQ(user->shell, "/bin/sh");
    EXPECT_TRUE(user->listed);
    EXPECT_EQ(accounts.find_user("last")->shell, "/bin/zsh");
}

TEST_F(UsersTest, FindsByNumberButANameWins) {
    Accounts accounts = Accounts::load(file("passwd", kPasswd), file("group", kGroup));
    EXPECT_EQ(accounts.find_user("1000")->name, "user");
    EXPECT_EQ(accounts.find_user("42")->uid, 4242U);
    EXPECT_EQ(accounts.find_user("0")->name, "root");
    EXPECT_THAT(accounts.find_user("0")->groups, ElementsAre(0, 50));
}

TEST_F(UsersTest, ANumberWithoutAnEntryIsAUserWithoutRights) {
    Accounts accounts = Accounts::load(file("passwd", kPasswd), file("group", kGroup));
    auto user = accounts.find_user("31337");
    ASSERT_TRUE(user);
    EXPECT_FALSE(user->listed);
    EXPECT_EQ(user->uid, 31337U);
    EXPECT_EQ(user->gid, 31337U);
    EXPECT_THAT(user->groups, ElementsAre(31337));
    EXPECT_EQ(user->home, "/");
}

TEST_F(UsersTest, UnknownNamesAndMalformedEntriesAreNobody) {
    Accounts accounts = Accounts::load(file("passwd", kPasswd), file("group", kGroup));
    for (const char* name : {"nobody", "", "bad", "huge", "short", "-1", "+1", "1 ", "4294967295",
                             "4294967296", "# a comment"}) {
        EXPECT_FALSE(accounts.find_user(name)) << name;
    }
    EXPECT_EQ(accounts.find_user("homeless")->home, "/");
}

TEST_F(UsersTest, NamesOfNumbers) {
    Accounts accounts = Accounts::load(file("passwd", kPasswd), file("group", kGroup));
    EXPECT_EQ(accounts.user_name(1000), "user");
    EXPECT_EQ(accounts.user_name(77), "77");
    EXPECT_EQ(accounts.group_name(50), "staff");
    EXPECT_EQ(accounts.group_name(77), "77");
    EXPECT_EQ(accounts.find_group("docker"), gid_t{999});
    EXPECT_EQ(accounts.find_group("123"), gid_t{123});
    EXPECT_FALSE(accounts.find_group("broken"));
}

TEST_F(UsersTest, MissingFilesLeaveRootAndNumbers) {
    Accounts accounts = Accounts::load(missing(), missing());
    auto root = accounts.find_user("root");
    ASSERT_TRUE(root);
    EXPECT_EQ(root->uid, 0U);
    EXPECT_EQ(root->gid, 0U);
    EXPECT_EQ(root->name, "root");
    EXPECT_EQ(accounts.find_user("0")->name, "root");
    EXPECT_TRUE(accounts.find_user("1000"));
    EXPECT_FALSE(accounts.find_user("user"));
    EXPECT_EQ(accounts.user_name(0), "0");
}

TEST_F(UsersTest, AFifoInPlaceOfTheFileDoesNotBlock) {
    std::string fifo = folder_ / "fifo";
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    EXPECT_FALSE(Accounts::load(fifo, fifo).find_user("user"));
}

}  // namespace
}  // namespace sandbox
