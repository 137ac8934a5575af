#include <atomic>
#include <chrono>

#include "filesystem_fixture.hpp"

namespace sandbox::files {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class FilesystemRemoveTest : public FilesystemTest {};
class FilesystemBigTreeTest : public BigTreeTest {};

TEST_F(FilesystemRemoveTest, DeletesFilesAndLinks) {
    make_file("f");
    make_directory("d");
    make_link("d", "link");
    make_link("nowhere", "dangling");
    ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
    for (const char* name : {"f", "link", "dangling", "fifo"})
        EXPECT_EQ(error_of(delete_file(path(name))), "ok");
    EXPECT_THAT(names(root_), ElementsAre("d"));
}

TEST_F(FilesystemRemoveTest, DeleteFileErrors) {
    make_file("f");
    make_directory("d");
    make_directory("closed", 0755);
    make_file("closed/f");
    std::string nul("a\0b", 3);
    for (const auto& [name, error] : std::vector<std::pair<std::string, std::string>>{
             {path("none"), "no such file or directory"},
             {"", "no such file or directory"},
             {path("d"), "is a directory"},
             {path("d/"), "is a directory"},
             {path("d/."), "invalid argument"},
             {path("d/.."), "is a directory"},
             {path("none/."), "no such file or directory"},
             {"/", "is a directory"},
             {path("f/x"), "not a directory"},
             {path("f/"), "not a directory"},
             {nul, "invalid argument"},
         }) {
        EXPECT_EQ(error_of(delete_file(name)), "remove " + name + ": " + error);
    }
    if (::geteuid() == 0) {
        as_nobody([&] {
            EXPECT_EQ(error_of(delete_file(path("closed/f"))),
                      "remove " + path("closed/f") + ": permission denied");
        });
    }
    EXPECT_THAT(names(root_), ElementsAre("closed", "d", "f"));
}

TEST_F(FilesystemRemoveTest, DeletesTreesAndNothingElse) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, whom a directory without w does not stop";
    make_file("outside");
    make_directory("outside_dir");
    make_file("outside_dir/f");
    make_directory("d", 0500);
    make_directory("d/e");
    make_file("d/e/f", "x", 0000);
    make_file("d/.hidden");
    make_link(path("outside_dir"), "d/link");
    make_link("../outside", "d/e/link");
    ASSERT_EQ(::mkfifo(path("d/fifo").c_str(), 0600), 0);
    EXPECT_EQ(error_of(delete_dir(path("d//"))), "ok");
    EXPECT_THAT(names(root_), ElementsAre("outside", "outside_dir"));
    EXPECT_THAT(names(path("outside_dir")), ElementsAre("f"));
}

TEST_F(FilesystemRemoveTest, WhatIsMissingIsDeleted) {
    EXPECT_EQ(error_of(delete_dir(path("none"))), "ok");
    EXPECT_EQ(error_of(delete_dir(path("none/at/all"))), "ok");
    EXPECT_EQ(error_of(remove_all(path("none"))), "ok");
}

TEST_F(FilesystemRemoveTest, ALinkIsDeletedItself) {
    make_directory("d");
    make_file("d/f");
    make_link("d", "link");
    make_link("d", "link2");
    make_link("nowhere", "dangling");
    EXPECT_EQ(error_of(delete_dir(path("link"))), "ok");
    EXPECT_EQ(error_of(delete_dir(path("link2/"))), "ok");
    EXPECT_EQ(error_of(delete_dir(path("dangling"))), "ok");
    EXPECT_THAT(names(root_), ElementsAre("d"));
    EXPECT_THAT(names(path("d")), ElementsAre("f"));
}

TEST_F(FilesystemRemoveTest, DeleteDirErrors) {
    make_file("f");
    make_directory("d");
    ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
    std::string nul("a\0b", 3);
    for (const auto& [name, error] : std::vector<std::pair<std::string, std::string>>{
             {path("f"), "unlinkat " + path("f") + ": not a directory"},
             {path("fifo"), "unlinkat " + path("fifo") + ": not a directory"},
             {path("f/x"), "unlinkat " + path("f/x") + ": not a directory"},
             {path("d/."), "RemoveAll " + path("d/.") + ": invalid argument"},
             {path("d/.."), "RemoveAll " + path("d/..") + ": invalid argument"},
             {".", "RemoveAll .: invalid argument"},
             {"", "RemoveAll : invalid argument"},
             {"/", "RemoveAll /: operation not permitted"},
             {"//", "RemoveAll //: operation not permitted"},
             {"/.", "RemoveAll /.: invalid argument"},
             {"/tmp/..", "RemoveAll /tmp/..: invalid argument"},
             {nul, "unlinkat " + nul + ": invalid argument"},
         }) {
        EXPECT_EQ(error_of(delete_dir(name)), error);
    }
    EXPECT_EQ(error_of(remove_all(path("f/"))), "unlinkat " + path("f/") + ": not a directory");
    EXPECT_EQ(error_of(remove_all(path("f"))), "ok");
    EXPECT_EQ(error_of(remove_all(path("fifo"))), "ok");
    EXPECT_THAT(names(root_), ElementsAre("d"));
}

TEST_F(FilesystemRemoveTest, WithoutRights) {
    SKIP_UNLESS_ROOT();
    make_directory("parent", 0755);
    make_directory("parent/sub", 0777);
    make_file("parent/sub/f");
    make_directory("open", 0777);
    make_directory("open/unreadable", 0700);
    make_file("open/unreadable/f");
    make_directory("open/empty", 0700);
    make_directory("dark", 0700);
    make_directory("dark/sub", 0777);
    make_directory("mixed", 0777);
    make_directory("mixed/a", 0777);
    make_file("mixed/a/f");
    make_directory("mixed/b", 0755);
    make_file("mixed/b/f");
    make_directory("mixed/c", 0777);
    as_nobody([&] {
        EXPECT_EQ(error_of(delete_dir(path("parent/sub"))),
                  "unlinkat " + path("parent/sub") + ": permission denied");
        EXPECT_EQ(error_of(delete_dir(path("open/unreadable"))),
                  "openfdat " + path("open/unreadable") + ": permission denied");
        EXPECT_EQ(error_of(delete_dir(path("open/empty"))), "ok");
        EXPECT_EQ(error_of(delete_dir(path("dark/sub"))), "open " + path("dark") + ": permission denied");
        // Goes on beside what can't be removed.
        EXPECT_EQ(error_of(delete_dir(path("mixed"))),
                  "unlinkat " + path("mixed/b/f") + ": permission denied");
    });
    EXPECT_THAT(names(path("mixed")), ElementsAre("b"));
    EXPECT_THAT(names(path("parent/sub")), IsEmpty());
    EXPECT_THAT(names(path("open")), ElementsAre("unreadable"));
}

TEST_F(FilesystemBigTreeTest, TenThousandLevelsWithFewDescriptors) {
    make_deep("deep", 10'000);
    WalkOptions options;
    options.depth = UINT32_MAX;
    std::size_t walked = 0;
    std::size_t copied = 0;
    with_few_descriptors(40, [&] {
        EXPECT_EQ(error_of(walk(path("deep"), options, [&](Entry&&) { return ++walked > 0; })), "ok");
        EXPECT_EQ(error_of(copy(path("deep"), path("copy"))), "ok");
        EXPECT_EQ(error_of(delete_dir(path("deep"))), "ok");
        EXPECT_EQ(error_of(walk(path("copy"), options, [&](Entry&&) { return ++copied > 0; })), "ok");
        EXPECT_EQ(error_of(delete_dir(path("copy"))), "ok");
    });
    EXPECT_EQ(walked, 19'999U);
    EXPECT_EQ(copied, walked);
    EXPECT_THAT(names(root_), IsEmpty());
}

TEST_F(FilesystemBigTreeTest, WideTrees) {
    make_directory("wide");
    for (int i = 0; i < 9000; ++i) ASSERT_EQ(::mkdir(path("wide/" + std::to_string(i)).c_str(), 0755), 0);
    for (int i = 0; i < 100; ++i) make_file("wide/" + std::to_string(i) + "/f");
    for (int i = 0; i < 3000; ++i) make_file("wide/f" + std::to_string(i));
    EXPECT_EQ(error_of(delete_dir(path("wide"))), "ok");
    EXPECT_THAT(names(root_), IsEmpty());
}

TEST_F(FilesystemRemoveTest, MountPointsAreEmptiedAndRefused) {
    make_directory("d");
    make_directory("d/mount");
    make_directory("elsewhere");
    make_file("d/f");
    bool possible = in_mount_namespace([&] {
        std::string mount = path("d/mount");
        ASSERT_EQ(::mount("none", mount.c_str(), "tmpfs", 0, "size=1m"), 0);
        make_file("d/mount/f");
        EXPECT_EQ(error_of(delete_dir(mount)), "unlinkat " + mount + ": device or resource busy");
        EXPECT_THAT(names(mount), IsEmpty());
        EXPECT_EQ(error_of(delete_dir(path("d"))), "unlinkat " + mount + ": device or resource busy");
        EXPECT_THAT(names(path("d")), ElementsAre("mount"));
    });
    if (!possible) SKIP_WITHOUT_MOUNTS();
}

TEST_F(FilesystemRemoveTest, TheRootDirectoryIsNeverEntered) {
    make_directory("d");
    make_directory("d/root");
    bool possible = in_mount_namespace([&] {
        // A private root of our own making, so that a failure of this test costs nothing.
        make_directory("sandbox");
        std::string root = path("sandbox");
        ASSERT_EQ(::mount("none", root.c_str(), "tmpfs", 0, "size=1m"), 0);
        make_file("sandbox/precious");
        make_directory("sandbox/d");
        make_directory("sandbox/d/root");
        ASSERT_EQ(::mount(root.c_str(), (root + "/d/root").c_str(), nullptr, MS_BIND, nullptr), 0);
        ASSERT_EQ(::chroot(root.c_str()), 0);  // The thread has a file system context of its own.
        EXPECT_EQ(error_of(delete_dir("/d")), "unlinkat /d/root: device or resource busy");
        EXPECT_EQ(error_of(delete_dir("/d/root")), "RemoveAll /d/root: operation not permitted");
        EXPECT_TRUE(exists("/precious"));
    });
    if (!possible) SKIP_WITHOUT_MOUNTS();
}

TEST_F(FilesystemBigTreeTest, DirectoriesSwappedForLinksLeadNowhere) {
    make_directory("outside");
    for (int i = 0; i < 20; ++i) make_file("outside/f" + std::to_string(i));
    std::atomic<bool> stop = false;
    std::atomic<int> swaps = 0;
    // Exchanges a directory of the tree with a link to the outside, again and again.
    std::thread attacker([&] {
        std::string link = make_link(path("outside"), "bait");
        while (!stop) {
            if (::renameat2(AT_FDCWD, link.c_str(), AT_FDCWD, path("tree/a/victim").c_str(),
                            RENAME_EXCHANGE) == 0) {
                ++swaps;
            }
        }
        ::unlink(link.c_str());
    });
    auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    int rounds = 0;
    while ((rounds < 200 || swaps < 200) && std::chrono::steady_clock::now() < end) {
        for (const char* name : {"tree", "tree/a", "tree/a/victim", "tree/a/victim/sub"}) {
            ::mkdir(path(name).c_str(), 0755);
        }
        static_cast<void>(delete_dir(path("tree")));
        ++rounds;
    }
    stop = true;
    attacker.join();
    EXPECT_GT(swaps, 0);
    auto left = names(path("outside"));  // "sub", too, when this test has made it through the link.
    EXPECT_EQ(std::ranges::count(left, 'f', [](const std::string& name) { return name[0]; }), 20);
}

TEST_F(FilesystemBigTreeTest, ATreeThatIsBeingFilledIsGoneInTheEnd) {
    make_directory("d");
    std::atomic<bool> stop = false;
    std::atomic<int> made = 0;
    std::thread filler([&] {
        for (int i = 0; i < 300 && !stop; ++i) {
            ::mkdir(path("d/" + std::to_string(i)).c_str(), 0755);
            UniqueFd fd(
                ::open(path("d/" + std::to_string(i) + "/f").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
            ++made;
        }
    });
    while (made < 100) std::this_thread::yield();
    Result<> deleted = delete_dir(path("d"));
    stop = true;
    filler.join();
    // Either all of it is gone, or what is left is named.
    if (!deleted) {
        EXPECT_EQ(deleted.error().sys_errno, ENOTEMPTY);
    }
    EXPECT_EQ(error_of(delete_dir(path("d"))), "ok");
    EXPECT_FALSE(exists(path("d")));
}

TEST_F(FilesystemBigTreeTest, TwoAtOnceBothSucceed) {
    for (int round = 0; round < 20; ++round) {
        make_directory("d");
        for (int i = 0; i < 50; ++i) {
            make_directory("d/" + std::to_string(i));
            make_file("d/" + std::to_string(i) + "/f");
        }
        std::string first;
        std::string second;
        std::thread other([&] { first = error_of(delete_dir(path("d"))); });
        second = error_of(delete_dir(path("d")));
        other.join();
        EXPECT_EQ(first, "ok");
        EXPECT_EQ(second, "ok");
        EXPECT_FALSE(exists(path("d")));
    }
}

}  // namespace
}  // namespace sandbox::files
