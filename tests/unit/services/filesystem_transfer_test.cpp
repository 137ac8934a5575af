#include "filesystem_fixture.hpp"

namespace sandbox::files {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class FilesystemTransferTest : public FilesystemTest {
  protected:
    std::string pair(const std::string& from, const std::string& to) const {
        return path(from) + " " + path(to);
    }

    void make_tree() const {
        make_directory("tree", 0750);
        make_directory("tree/sub", 0555);
        make_file("tree/sub/f", "content", 0751);
        make_file("tree/empty", "", 0400);
        make_link("sub/f", "tree/link");
        make_link("nowhere", "tree/dangling");
        make_directory("tree/nothing");
    }
    void expect_tree(const std::string& name) const {
        EXPECT_THAT(names(path(name)), ElementsAre("dangling", "empty", "link", "nothing", "sub"));
        EXPECT_EQ(content(path(name) + "/sub/f"), "content");
        EXPECT_EQ(mode_of(path(name)), 0750U);
        EXPECT_EQ(mode_of(path(name) + "/sub"), 0555U);
        EXPECT_EQ(mode_of(path(name) + "/sub/f"), 0751U);
        EXPECT_EQ(mode_of(path(name) + "/empty"), 0400U);
        EXPECT_EQ(stat(path(name) + "/link")->link_text, "sub/f");
        EXPECT_EQ(stat(path(name) + "/dangling")->link_text, "nowhere");
    }
};

TEST_F(FilesystemTransferTest, MovesAndReplaces) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, whom a directory without w does not stop";
    make_file("a", "A");
    make_file("b", "B");
    ino_t inode = lstat_of(path("a")).st_ino;
    EXPECT_EQ(error_of(move(path("a"), path("b"))), "ok");
    EXPECT_EQ(content(path("b")), "A");
    EXPECT_EQ(lstat_of(path("b")).st_ino, inode);
    EXPECT_THAT(names(root_), ElementsAre("b"));
    make_tree();
    make_directory("empty");
    EXPECT_EQ(error_of(move(path("tree"), path("empty"))), "ok");
    expect_tree("empty");
}

TEST_F(FilesystemTransferTest, MoveErrors) {
    make_file("f");
    make_file("g");
    make_directory("d");
    make_directory("full");
    make_file("full/x");
    TransferOptions keep;
    keep.replace = false;
    EXPECT_EQ(error_of(move(path("none"), path("x"))),
              "rename " + pair("none", "x") + ": no such file or directory");
    EXPECT_EQ(error_of(move(path("f"), path("no/x"))),
              "rename " + pair("f", "no/x") + ": no such file or directory");
    EXPECT_EQ(error_of(move(path("f"), path("d"))), "rename " + pair("f", "d") + ": is a directory");
    EXPECT_EQ(error_of(move(path("d"), path("f"))), "rename " + pair("d", "f") + ": not a directory");
    EXPECT_EQ(error_of(move(path("d"), path("full"))),
              "rename " + pair("d", "full") + ": directory not empty");
    EXPECT_EQ(error_of(move(path("d"), path("d/x"))),
              "rename " + pair("d", "d/x") + ": a directory can't go into itself");
    EXPECT_EQ(error_of(move(path("f"), path("g"), keep)), "rename " + pair("f", "g") + ": file exists");
    EXPECT_EQ(error_of(move(path("f"), path("g/x"))), "rename " + pair("f", "g/x") + ": not a directory");
    std::string nul("a\0b", 3);
    EXPECT_EQ(error_of(move(nul, path("x"))), "rename " + nul + " " + path("x") + ": invalid argument");
    EXPECT_THAT(names(root_), ElementsAre("d", "f", "full", "g"));
}

TEST_F(FilesystemTransferTest, MoveMakesParentsWhenAskedTo) {
    make_file("f", "F");
    TransferOptions options;
    options.create_parents = true;
    EXPECT_EQ(error_of(move(path("f"), path("a/b/f"), options)), "ok");
    EXPECT_EQ(content(path("a/b/f")), "F");
    EXPECT_EQ(error_of(move(path("none"), path("x/y"), options)),
              "rename " + pair("none", "x/y") + ": no such file or directory");
    EXPECT_THAT(names(root_), ElementsAre("a"));
}

TEST_F(FilesystemTransferTest, TwoNamesOfOneFile) {
    make_file("a", "A");
    ASSERT_EQ(::link(path("a").c_str(), path("b").c_str()), 0);
    EXPECT_EQ(error_of(move(path("a"), path("a"))), "ok");
    EXPECT_EQ(error_of(move(path("a"), root_ + "/./a")), "ok");
    EXPECT_THAT(names(root_), ElementsAre("a", "b"));
    EXPECT_EQ(error_of(move(path("a"), path("b"))), "ok");
    EXPECT_THAT(names(root_), ElementsAre("b"));
}

TEST_F(FilesystemTransferTest, MovesToAnotherFileSystem) {
    make_tree();
    make_file("f", "F", 04711);
    make_directory("other");
    std::string other = path("other");
    if (::geteuid() == 0) {
        ASSERT_EQ(::chown(path("f").c_str(), 11, 22), 0);
        ::chmod(path("f").c_str(), 04711);
    }
    timespec times[2] = {{1'000'000, 5}, {2'000'000, 7}};
    ASSERT_EQ(::utimensat(AT_FDCWD, path("f").c_str(), times, 0), 0);
    bool possible = in_mount_namespace([&] {
        ASSERT_EQ(::mount("none", other.c_str(), "tmpfs", 0, "size=1m"), 0);
        struct stat before = lstat_of(path("f"));
        EXPECT_EQ(error_of(move(path("f"), other + "/f")), "ok");
        struct stat after = lstat_of(other + "/f");
        EXPECT_EQ(after.st_mode, before.st_mode);
        EXPECT_EQ(after.st_uid, before.st_uid);
        EXPECT_EQ(after.st_gid, before.st_gid);
        EXPECT_EQ(after.st_mtim.tv_sec, 2'000'000);
        EXPECT_EQ(after.st_mtim.tv_nsec, 7);
        EXPECT_EQ(content(other + "/f"), "F");
        EXPECT_FALSE(exists(path("f")));

        EXPECT_EQ(error_of(move(path("tree"), other + "/tree")), "ok");
        expect_tree("other/tree");
        EXPECT_FALSE(exists(path("tree")));
        EXPECT_EQ(error_of(move(other + "/tree/link", path("link"))), "ok");
        EXPECT_EQ(stat(path("link"))->link_text, "sub/f");

        // What rename(2) refuses is refused here, too.
        make_file("g");
        TransferOptions keep;
        keep.replace = false;
        EXPECT_EQ(error_of(move(path("g"), other + "/f", keep)),
                  "rename " + path("g") + " " + other + "/f: file exists");
        EXPECT_EQ(error_of(move(path("g"), other + "/tree")),
                  "rename " + path("g") + " " + other + "/tree: is a directory");
        // No space: all stays as it was.
        make_file("big", std::string(2'000'000, 'b'));
        EXPECT_EQ(error_of(move(path("big"), other + "/f")),
                  "rename " + path("big") + ": no space left on device");
        EXPECT_EQ(content(other + "/f"), "F");
        EXPECT_THAT(names(other), ElementsAre("f", "tree"));
        EXPECT_EQ(content(path("big")).size(), 2'000'000U);
    });
    if (!possible) SKIP_WITHOUT_MOUNTS();
}

TEST_F(FilesystemTransferTest, CopiesFiles) {
    std::string text;
    for (int i = 0; i < 200'000; ++i) text += std::to_string(i);
    make_file("a", text, 04751);
    EXPECT_EQ(error_of(copy(path("a"), path("b"))), "ok");
    EXPECT_EQ(content(path("b")), text);
    EXPECT_EQ(mode_of(path("b")), 0751U);
    make_file("c", "C", 0600);
    EXPECT_EQ(error_of(copy(path("a"), path("c"))), "ok");
    EXPECT_EQ(content(path("c")), text);
    EXPECT_EQ(mode_of(path("c")), 0600U);
    make_link("a", "link");
    EXPECT_EQ(error_of(copy(path("link"), path("d"))), "ok");
    EXPECT_TRUE(S_ISREG(lstat_of(path("d")).st_mode));
    EXPECT_EQ(error_of(copy("/proc/self/status", path("status"))), "ok");
    EXPECT_EQ(content(path("status")).substr(0, 5), "Name:");
    EXPECT_THAT(names(root_), ElementsAre("a", "b", "c", "d", "link", "status"));
}

TEST_F(FilesystemTransferTest, CopiesTrees) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, whom a directory without w does not stop";
    make_tree();
    EXPECT_EQ(error_of(copy(path("tree"), path("copy"))), "ok");
    expect_tree("copy");
    expect_tree("tree");
    make_link("tree", "to_tree");
    EXPECT_EQ(error_of(copy(path("to_tree/"), path("again/"))), "ok");
    expect_tree("again");
    EXPECT_THAT(names(root_), ElementsAre("again", "copy", "to_tree", "tree"));
}

TEST_F(FilesystemTransferTest, CopyErrors) {
    make_tree();
    make_file("f");
    make_directory("d");
    ASSERT_EQ(::mkfifo(path("d/fifo").c_str(), 0600), 0);
    TransferOptions keep;
    keep.replace = false;
    EXPECT_EQ(error_of(copy(path("none"), path("x"))),
              "copy " + pair("none", "x") + ": no such file or directory");
    EXPECT_EQ(error_of(copy(path("f"), path("f"))), "copy " + pair("f", "f") + ": are the same file");
    EXPECT_EQ(error_of(copy(path("f"), path("d"))), "open " + path("d") + ": is a directory");
    EXPECT_EQ(error_of(copy(path("f"), path("no/x"))),
              "open " + path("no/x") + ": no such file or directory");
    EXPECT_EQ(error_of(copy(path("f"), path("tree/empty"), keep)),
              "open " + path("tree/empty") + ": file exists");
    EXPECT_EQ(error_of(copy(path("tree"), path("d"))), "copy " + pair("tree", "d") + ": file exists");
    EXPECT_EQ(error_of(copy(path("tree"), path("f"))), "copy " + pair("tree", "f") + ": file exists");
    EXPECT_EQ(error_of(copy(path("tree"), path("tree/x"))),
              "copy " + pair("tree", "tree/x") + ": a directory can't go into itself");
    EXPECT_EQ(error_of(copy(path("tree"), path("tree/sub/x"))),
              "copy " + pair("tree", "tree/sub/x") + ": a directory can't go into itself");
    EXPECT_EQ(error_of(copy(path("d/fifo"), path("x"))), "copy " + path("d/fifo") + ": is a named pipe");
    EXPECT_EQ(error_of(copy(path("d"), path("x"))), "copy " + path("d/fifo") + ": is a named pipe");
    EXPECT_EQ(error_of(copy("/dev/zero", path("x"))), "copy /dev/zero: is a device");
    std::string nul("a\0b", 3);
    EXPECT_EQ(error_of(copy(nul, path("x"))), "copy " + nul + " " + path("x") + ": invalid argument");
    EXPECT_THAT(names(root_), ElementsAre("d", "f", "tree"));
}

TEST_F(FilesystemTransferTest, CopiesBelongToWhomTheyAreFor) {
    SKIP_UNLESS_ROOT();
    make_tree();
    make_file("f");
    TransferOptions options;
    options.create_parents = true;
    options.owner = Owner{31, 32};
    EXPECT_EQ(error_of(copy(path("tree"), path("p/q/tree"), options)), "ok");
    EXPECT_EQ(error_of(copy(path("f"), path("p/f"), options)), "ok");
    for (const char* name : {"p", "p/q", "p/q/tree", "p/q/tree/sub/f", "p/q/tree/link", "p/f"}) {
        EXPECT_EQ(lstat_of(path(name)).st_uid, 31U) << name;
        EXPECT_EQ(lstat_of(path(name)).st_gid, 32U) << name;
    }
    EXPECT_EQ(lstat_of(path("tree")).st_uid, 0U);
}

TEST_F(FilesystemTransferTest, NoSpaceForACopyLeavesNothing) {
    make_tree();
    make_file("tree/big", std::string(2'000'000, 'b'));
    std::string small = make_directory("small");
    bool possible = in_mount_namespace([&] {
        ASSERT_EQ(::mount("none", small.c_str(), "tmpfs", 0, "size=1m"), 0);
        EXPECT_EQ(error_of(copy(path("tree"), small + "/copy")),
                  "copy " + path("tree/big") + ": no space left on device");
        EXPECT_THAT(names(small), IsEmpty());
    });
    if (!possible) SKIP_WITHOUT_MOUNTS();
}

}  // namespace
}  // namespace sandbox::files
