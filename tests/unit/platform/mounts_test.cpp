#include "platform/mounts.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "support/folder.hpp"

namespace sandbox {
namespace {

std::string device_of(const std::string& path) {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
    return std::to_string(major(info.st_dev)) + ":" + std::to_string(minor(info.st_dev));
}

class MountsTest : public testing::Test {
  protected:
    std::vector<std::string> walk(const std::string& path) {
        std::vector<std::string> entered;
        auto enter = [&](const std::string& file_system) {
            entered.push_back(file_system);
            return true;
        };
        EXPECT_TRUE(mounts_.walk(path, enter));
        return entered;
    }

    Mounts mounts_;
    test::Folder folder_;
    const std::string& dir_ = folder_.path();
};

TEST_F(MountsTest, TheFileSystemsOfAPathInOrder) {
    EXPECT_EQ(walk("/"), std::vector<std::string>{});  // Nothing needs to be looked at.
    EXPECT_EQ(walk("/proc/self/../stat").back(), device_of("/proc"));
    EXPECT_EQ(walk("/no/such/file").front(), device_of("/"));
}

TEST_F(MountsTest, SymbolicLinksAreFollowed) {
    std::filesystem::create_symlink("/proc", dir_ + "/link");
    std::filesystem::create_symlink("link", dir_ + "/second");
    EXPECT_EQ(walk(dir_ + "/second/stat").back(), device_of("/proc"));
    EXPECT_EQ(walk(dir_ + "/second/../x").front(), device_of("/"));
    std::filesystem::create_symlink("loop", dir_ + "/loop");
    EXPECT_FALSE(walk(dir_ + "/loop").empty());
}

TEST_F(MountsTest, RelativePathsStartInTheWorkingDirectory) {
    std::filesystem::path before = std::filesystem::current_path();
    std::filesystem::current_path("/proc");
    EXPECT_EQ(walk("stat").back(), device_of("/proc"));
    EXPECT_EQ(walk("").back(), device_of("/proc"));
    std::filesystem::current_path(before);
}

TEST_F(MountsTest, SpecialFilesAreOneMore) {
    ASSERT_EQ(::mkfifo((dir_ + "/fifo").c_str(), 0600), 0);
    EXPECT_EQ(walk(dir_ + "/fifo").back(), Mounts::kSpecialFiles);
    EXPECT_EQ(walk("/dev/null").back(), Mounts::kSpecialFiles);
}

TEST_F(MountsTest, ANoEndsTheWalkBeforeAnythingThereIsLookedAt) {
    std::vector<std::string> entered;
    auto enter = [&](const std::string& file_system) {
        entered.push_back(file_system);
        return file_system != device_of("/proc");
    };
    EXPECT_FALSE(mounts_.walk("/proc/self/stat", enter));
    EXPECT_EQ(entered.back(), device_of("/proc"));
}

}  // namespace
}  // namespace sandbox
