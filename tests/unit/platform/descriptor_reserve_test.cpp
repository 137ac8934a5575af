#include "platform/descriptor_reserve.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <set>
#include <string>
#include <vector>

#include "support/census.hpp"
#include "support/used_up_descriptors.hpp"

namespace sandbox {
namespace {

class DescriptorReserveTest : public testing::Test {
  protected:
    std::vector<UniqueFd> open_all(const char* path = "/proc") {
        std::vector<UniqueFd> open;
        while (UniqueFd fd = reserve_.open(path, O_RDONLY)) open.push_back(std::move(fd));
        EXPECT_EQ(errno, EMFILE);
        return open;
    }
    void put_back_all(std::vector<UniqueFd> open) {
        for (UniqueFd& fd : open) reserve_.put_back(std::move(fd));
    }
    static bool can_open() { return static_cast<bool>(UniqueFd(::open("/", O_PATH | O_CLOEXEC))); }

    DescriptorReserve reserve_;
};

TEST_F(DescriptorReserveTest, OpensWhenAllOthersAreUsedUpAsManyAsItHolds) {
    test::UsedUpDescriptors used_up(false);
    for (int round = 0; round < 3; ++round) {
        std::vector<UniqueFd> open = open_all();
        ASSERT_EQ(open.size(), DescriptorReserve::kSize);
        for (const UniqueFd& fd : open) {
            EXPECT_GE(fd.get(), 4);
            EXPECT_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
        }
        put_back_all(std::move(open));
        EXPECT_FALSE(can_open()) << "what is put back is not free for others";
    }
}

TEST_F(DescriptorReserveTest, TakesNothingOfItsOwnWhileThereAreOthers) {
    UniqueFd fd = reserve_.open("/proc", O_RDONLY);
    test::UsedUpDescriptors used_up(false);
    const int number = fd.get();
    reserve_.put_back(std::move(fd));
    EXPECT_EQ(::fcntl(number, F_GETFD), -1) << "none is missing, so it is closed";
    used_up.take_all();
    std::vector<UniqueFd> open = open_all();
    EXPECT_EQ(open.size(), DescriptorReserve::kSize);
    put_back_all(std::move(open));
}

TEST_F(DescriptorReserveTest, AFileThatIsNotThereCostsNothing) {
    test::UsedUpDescriptors used_up(false);
    for (std::size_t i = 0; i < 2 * DescriptorReserve::kSize; ++i) {
        errno = 0;
        EXPECT_FALSE(reserve_.open("/proc/none", O_RDONLY));
        EXPECT_EQ(errno, ENOENT);
        EXPECT_FALSE(can_open());
    }
    std::vector<UniqueFd> open = open_all();
    EXPECT_EQ(open.size(), DescriptorReserve::kSize);
    put_back_all(std::move(open));
}

TEST_F(DescriptorReserveTest, WhatOthersGotIsTakenBackWhenThereIsSome) {
    test::UsedUpDescriptors used_up(false);
    open_all().clear();
    used_up.take_all();
    EXPECT_FALSE(reserve_.open("/proc", O_RDONLY));
    EXPECT_EQ(errno, EMFILE);
    used_up.free_one();
    UniqueFd fd = reserve_.open("/proc", O_RDONLY);
    EXPECT_TRUE(fd);
    reserve_.put_back(std::move(fd));
    EXPECT_FALSE(can_open());
    for (std::size_t i = 1; i < DescriptorReserve::kSize; ++i) {
        used_up.free_one();
        reserve_.put_back({});
        EXPECT_FALSE(can_open());
    }
    std::vector<UniqueFd> open = open_all();
    EXPECT_EQ(open.size(), DescriptorReserve::kSize);
    put_back_all(std::move(open));
}

TEST_F(DescriptorReserveTest, KeepsNoFileOfOthersOpenOnceThereAreDescriptors) {
    test::DescriptorCensus census;
    {
        test::UsedUpDescriptors used_up(false);
        put_back_all(open_all("/proc/self/stat"));
    }
    reserve_.put_back({});
    census.check();
}

TEST_F(DescriptorReserveTest, ReadsAndListsOrTellsWhyNot) {
    test::UsedUpDescriptors used_up(false);
    std::string text = "old";
    EXPECT_EQ(read_whole("/proc/self/comm", text), 0);
    EXPECT_NE(text.find('\n'), std::string::npos);
    EXPECT_EQ(text.find("old"), std::string::npos);
    EXPECT_EQ(read_whole("/proc/none", text), ENOENT);
    EXPECT_EQ(text, "");
    EXPECT_EQ(read_whole("/proc", text), EISDIR);
    std::set<std::string> names;
    auto note = [&names](const dirent64& entry) { names.insert(entry.d_name); };
    EXPECT_EQ(list_directory("/proc/self/task", note), 0);
    EXPECT_EQ(names.count(std::to_string(::getpid())), 1U);
    EXPECT_EQ(list_directory("/proc/self/stat", note), ENOTDIR);
    EXPECT_EQ(list_directory("/proc/none", note), ENOENT);
}

}  // namespace
}  // namespace sandbox
