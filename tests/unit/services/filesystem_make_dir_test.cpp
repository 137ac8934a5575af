#include <atomic>

#include "filesystem_fixture.hpp"

namespace sandbox::files {
namespace {

class FilesystemMakeDirTest : public FilesystemTest {};

TEST_F(FilesystemMakeDirTest, MakesWhatIsMissing) {
    auto made = make_dir(path("a/b/c"));
    ASSERT_TRUE(made) << error_of(made);
    EXPECT_TRUE(*made);
    EXPECT_EQ(mode_of(path("a")), 0755U);
    EXPECT_EQ(mode_of(path("a/b/c")), 0755U);
    EXPECT_FALSE(*make_dir(path("a/b/c")));
    EXPECT_FALSE(*make_dir("/"));
    EXPECT_FALSE(*make_dir(path("a/b/../b/.")));
    EXPECT_TRUE(*make_dir(path("a//x///y//")));
    EXPECT_TRUE(exists(path("a/x/y")));
    EXPECT_TRUE(*make_dir(path("n/../m")));
    EXPECT_TRUE(exists(path("n")));
    EXPECT_TRUE(exists(path("m")));
}

TEST_F(FilesystemMakeDirTest, GoesThroughLinksToDirectories) {
    make_directory("d");
    make_link("d", "link");
    EXPECT_FALSE(*make_dir(path("link")));
    EXPECT_TRUE(*make_dir(path("link/x/y")));
    EXPECT_TRUE(exists(path("d/x/y")));
}

TEST_F(FilesystemMakeDirTest, Errors) {
    make_file("file");
    make_link("nowhere", "dangling");
    make_link("loop", "loop");
    make_link("file", "to_file");
    make_directory("closed", 0755);
    std::string nul("a\0b", 3);
    std::string long_name(300, 'n');
    for (const auto& [name, error] : std::vector<std::pair<std::string, std::string>>{
             {path("file"), "mkdir " + path("file") + ": not a directory"},
             {path("file/x"), "mkdir " + path("file") + ": not a directory"},
             {path("file/x/y/z"), "mkdir " + path("file") + ": not a directory"},
             {path("to_file/x"), "mkdir " + path("to_file") + ": not a directory"},
             {path("dangling"), "mkdir " + path("dangling") + ": file exists"},
             {path("dangling/x"), "mkdir " + path("dangling") + ": file exists"},
             {path("loop"), "mkdir " + path("loop") + ": file exists"},
             {"", "mkdir : no such file or directory"},
             {path(long_name), "mkdir " + path(long_name) + ": file name too long"},
             {nul, "mkdir " + nul + ": invalid argument"},
         }) {
        EXPECT_EQ(error_of(make_dir(name)), error);
    }
    if (::geteuid() == 0) {
        as_nobody([&] {
            EXPECT_EQ(error_of(make_dir(path("closed/x"))),
                      "mkdir " + path("closed/x") + ": permission denied");
            EXPECT_EQ(error_of(make_dir(path("closed/x/y"))),
                      "mkdir " + path("closed/x") + ": permission denied");
            EXPECT_EQ(error_of(make_dir(path("closed"))), "ok");
        });
    }
}

TEST_F(FilesystemMakeDirTest, OwnersOnlyOfWhatIsMade) {
    SKIP_UNLESS_ROOT();
    make_directory("a");
    MakeDirOptions options;
    options.owner = Owner{123, 456};
    ASSERT_TRUE(make_dir(path("a/b/c"), options));
    EXPECT_EQ(lstat_of(path("a")).st_uid, 0U);
    EXPECT_EQ(lstat_of(path("a/b")).st_uid, 123U);
    EXPECT_EQ(lstat_of(path("a/b/c")).st_gid, 456U);
}

TEST_F(FilesystemMakeDirTest, ManyAtOnceMakeItOnce) {
    for (int round = 0; round < 30; ++round) {
        std::string deep = path("r" + std::to_string(round) + "/a/b/c/d");
        std::atomic<int> made = 0;
        std::vector<std::thread> makers;
        for (int i = 0; i < 4; ++i) {
            makers.emplace_back([&] {
                auto result = make_dir(deep);
                ASSERT_TRUE(result) << error_of(result);
                if (*result) ++made;
            });
        }
        for (std::thread& maker : makers) maker.join();
        EXPECT_EQ(made, 1);
        EXPECT_TRUE(exists(deep));
    }
}

TEST_F(FilesystemMakeDirTest, ReadOnlyFileSystems) {
    make_directory("ro");
    make_directory("ro/old");
    bool possible = in_mount_namespace([&] {
        std::string ro = path("ro");
        ASSERT_EQ(::mount(ro.c_str(), ro.c_str(), nullptr, MS_BIND, nullptr), 0);
        ASSERT_EQ(::mount(nullptr, ro.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr), 0);
        EXPECT_EQ(error_of(make_dir(ro + "/old")), "ok");
        EXPECT_EQ(error_of(make_dir(ro + "/old/new/x")), "mkdir " + ro + "/old/new: read-only file system");
    });
    if (!possible) SKIP_WITHOUT_MOUNTS();
}

}  // namespace
}  // namespace sandbox::files
