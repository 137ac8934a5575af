#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <random>

#include "filesystem_fixture.hpp"

namespace sandbox::files {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class FilesystemWriteTest : public FilesystemTest {};

std::string pattern(std::size_t size, unsigned seed = 1) {
    std::mt19937 random(seed);
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(random() & 0xFF);
    return bytes;
}

// Never has its bytes in memory or in a file, and gives a few at a time.
class DripSource final : public ByteSource {
  public:
    explicit DripSource(std::string bytes, std::size_t step) : bytes_(std::move(bytes)), step_(step) {}
    Result<std::size_t> read(std::uint64_t offset, std::span<char> out) override {
        std::size_t at = static_cast<std::size_t>(offset);
        std::size_t count = std::min({step_, out.size(), bytes_.size() - at});
        std::copy_n(bytes_.data() + at, count, out.data());
        return count;
    }

  private:
    std::string bytes_;
    std::size_t step_;
};

TEST_F(FilesystemWriteTest, MakesAFileAtOnce) {
    auto written = write(path("new"), "content");
    ASSERT_TRUE(written) << error_of(written);
    EXPECT_TRUE(written->created);
    EXPECT_TRUE(written->atomic);
    EXPECT_EQ(written->bytes, 7U);
    EXPECT_EQ(content(path("new")), "content");
    EXPECT_EQ(mode_of(path("new")), 0644U);
    EXPECT_THAT(names(root_), ElementsAre("new"));
}

TEST_F(FilesystemWriteTest, ReplacesContentAndKeepsTheRest) {
    std::string file = make_file("f", "old", 0750);
    ::setxattr(file.c_str(), "user.note", "kept", 4, 0);
    ino_t inode = lstat_of(file).st_ino;
    auto written = write(file, "");
    ASSERT_TRUE(written) << error_of(written);
    EXPECT_FALSE(written->created);
    EXPECT_TRUE(written->atomic);
    EXPECT_EQ(content(file), "");
    EXPECT_EQ(mode_of(file), 0750U);
    EXPECT_NE(lstat_of(file).st_ino, inode);
    char note[8] = {};
    if (::getxattr(file.c_str(), "user.note", note, sizeof note) >= 0) {
        EXPECT_STREQ(note, "kept");
    }
    EXPECT_THAT(names(root_), ElementsAre("f"));
}

TEST_F(FilesystemWriteTest, KeepsTheOwner) {
    SKIP_UNLESS_ROOT();
    std::string file = make_file("f", "old", 04755);
    ASSERT_EQ(::chown(file.c_str(), 1234, 2345), 0);
    ::chmod(file.c_str(), 04755);
    ASSERT_TRUE(write(file, "new"));
    EXPECT_EQ(lstat_of(file).st_uid, 1234U);
    EXPECT_EQ(lstat_of(file).st_gid, 2345U);
    EXPECT_EQ(mode_of(file), 04755U);
}

TEST_F(FilesystemWriteTest, TakesModeAndOwnerWhenTold) {
    SKIP_UNLESS_ROOT();
    WriteOptions options;
    options.mode = 0666;
    options.owner = Owner{77, 88};
    options.create_parents = true;
    for (const char* text : {"one", "two"}) {
        ASSERT_TRUE(write(path("a/b/f"), text, options));
        EXPECT_EQ(mode_of(path("a/b/f")), 0666U);
        EXPECT_EQ(lstat_of(path("a/b/f")).st_uid, 77U);
    }
    EXPECT_EQ(lstat_of(path("a")).st_uid, 77U);
    EXPECT_EQ(lstat_of(path("a/b")).st_gid, 88U);
    EXPECT_EQ(mode_of(path("a/b")), 0755U);
    EXPECT_EQ(lstat_of(root_).st_uid, 0U);

    options.mode.reset();
    options.mode_if_new = 0600;
    ASSERT_TRUE(write(path("a/b/f"), "three", options));
    EXPECT_EQ(mode_of(path("a/b/f")), 0666U);
    ASSERT_TRUE(write(path("a/b/g"), "new", options));
    EXPECT_EQ(mode_of(path("a/b/g")), 0600U);
}

TEST_F(FilesystemWriteTest, EverySourceComesOutByteForByte) {
    std::string bytes = pattern(3'000'000);
    DripSource drip(bytes, 4093);
    ASSERT_TRUE(write_file(path("drip"), {}, drip));
    EXPECT_EQ(content(path("drip")), bytes);
    ASSERT_TRUE(write(path("memory"), bytes));
    EXPECT_EQ(content(path("memory")), bytes);
}

TEST_F(FilesystemWriteTest, Appends) {
    WriteOptions options;
    options.append = true;
    auto first = write(path("log"), "one\n", options);
    ASSERT_TRUE(first) << error_of(first);
    EXPECT_TRUE(first->created);
    ino_t inode = lstat_of(path("log")).st_ino;
    auto second = write(path("log"), "two\n", options);
    ASSERT_TRUE(second);
    EXPECT_FALSE(second->created);
    EXPECT_FALSE(second->atomic);
    EXPECT_EQ(second->bytes, 4U);
    EXPECT_EQ(content(path("log")), "one\ntwo\n");
    EXPECT_EQ(lstat_of(path("log")).st_ino, inode);
}

TEST_F(FilesystemWriteTest, WhatThereIsNoRoomForIsNotAppended) {
    std::string file = make_file("f");
    WriteOptions options;
    options.append = true;
    options.length = 3;
    bool possible = true;
    for (int error : {ENOSPC, EDQUOT, EFBIG}) {
        possible = with_failing_calls({{SYS_fallocate, -1, 0, error}}, [&] {
            auto refused = write(file, "new", options);
            ASSERT_FALSE(refused);
            EXPECT_EQ(refused.error().sys_errno, error);
            EXPECT_FALSE(write(path("made"), "new", options));
        });
        EXPECT_EQ(content(file), "old");
    }
    if (!possible) GTEST_SKIP() << "no system call filters here";
    EXPECT_FALSE(exists(path("made")));
    for (int error : {EOPNOTSUPP, ENOSYS, EPERM}) {
        with_failing_calls({{SYS_fallocate, -1, 0, error}},
                           [&] { EXPECT_TRUE(write(file, "new", options)) << error; });
    }
    EXPECT_EQ(content(file), "oldnewnewnew");
}

TEST_F(FilesystemWriteTest, RoomForWhatDoesNotComeIsGivenBack) {
    std::string file = make_file("f");
    WriteOptions options;
    options.append = true;
    options.length = 10'000'000;
    FailingSource source;
    EXPECT_EQ(error_of(write_file(file, options, source)), "the source broke");
    EXPECT_EQ(content(file), "old" + std::string(1000, 'x'));
    EXPECT_LT(lstat_of(file).st_blocks * 512, 1'000'000);
}

TEST_F(FilesystemWriteTest, ErrorTexts) {
    make_directory("dir");
    make_file("file");
    make_link("loop", "loop");
    std::string long_name(300, 'n');
    struct Case {
        std::string path;
        std::string error;
    };
    for (const Case& c : std::vector<Case>{
             {path("missing/f"), "no such file or directory"},
             {"", "no such file or directory"},
             {path("dir"), "is a directory"},
             {path("dir/"), "is a directory"},
             {path("dir/."), "is a directory"},
             {path("dir/.."), "is a directory"},
             {path("new/"), "is a directory"},
             {path("file/"), "is a directory"},
             {"/", "is a directory"},
             {path("file/x"), "not a directory"},
             {path(long_name), "file name too long"},
             {path("loop"), "too many levels of symbolic links"},
             {path("loop/x"), "too many levels of symbolic links"},
             {std::string("a\0b", 3), "invalid argument"},
             {"/proc/version/x", "not a directory"},
         }) {
        for (bool append : {false, true}) {
            WriteOptions options;
            options.append = append;
            EXPECT_EQ(error_of(write(c.path, "x", options)), "open " + c.path + ": " + c.error);
        }
    }
    EXPECT_EQ(error_of(write("/dev/full", "x")), "write /dev/full: no space left on device");
    EXPECT_EQ(write("/dev/full", "x").error().code, Errc::resource_exhausted);
    EXPECT_THAT(names(root_), ElementsAre("dir", "file", "loop"));
    EXPECT_EQ(content(path("file")), "old");
}

TEST_F(FilesystemWriteTest, MustBeNew) {
    make_file("file");
    make_link("nowhere", "link");
    WriteOptions options;
    options.must_be_new = true;
    EXPECT_EQ(error_of(write(path("file"), "x", options)), "open " + path("file") + ": file exists");
    EXPECT_EQ(error_of(write(path("link"), "x", options)), "open " + path("link") + ": file exists");
    EXPECT_EQ(error_of(write(path("new"), "x", options)), "ok");
    EXPECT_EQ(content(path("file")), "old");
}

TEST_F(FilesystemWriteTest, ParentsOnlyWhenAskedFor) {
    WriteOptions options;
    options.create_parents = true;
    EXPECT_EQ(error_of(write(path("a/b/c/f"), "x", options)), "ok");
    EXPECT_EQ(content(path("a/b/c/f")), "x");
    make_file("file");
    EXPECT_EQ(error_of(write(path("file/b/f"), "x", options)),
              "open " + path("file/b/f") + ": not a directory");
}

TEST_F(FilesystemWriteTest, DevicesAreWrittenAndStayDevices) {
    auto written = write("/dev/null", "x");
    ASSERT_TRUE(written) << error_of(written);
    EXPECT_FALSE(written->atomic);
    EXPECT_TRUE(S_ISCHR(lstat_of("/dev/null").st_mode));
}

TEST_F(FilesystemWriteTest, AFifoNeverBlocks) {
    ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0644), 0);
    EXPECT_EQ(error_of(write(path("fifo"), "x")), "open " + path("fifo") + ": no such device or address");

    UniqueFd reader(::open(path("fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    EXPECT_EQ(error_of(write(path("fifo"), "hello")), "ok");
    char bytes[16] = {};
    EXPECT_EQ(::read(reader.get(), bytes, sizeof bytes), 5);
    EXPECT_STREQ(bytes, "hello");

    // A reader that never reads: the pipe is full before this is through.
    EXPECT_EQ(error_of(write(path("fifo"), std::string(1'000'000, 'x'))),
              "write " + path("fifo") + ": resource temporarily unavailable");
    EXPECT_TRUE(S_ISFIFO(lstat_of(path("fifo")).st_mode));
}

TEST_F(FilesystemWriteTest, WritesTheTargetOfALink) {
    make_directory("d");
    make_file("d/target", "old", 0600);
    make_link("d/target", "one");
    make_link(path("one"), "two");
    auto written = write(path("two"), "new");
    ASSERT_TRUE(written) << error_of(written);
    EXPECT_TRUE(written->atomic);
    EXPECT_EQ(content(path("d/target")), "new");
    EXPECT_EQ(mode_of(path("d/target")), 0600U);
    EXPECT_TRUE(S_ISLNK(lstat_of(path("one")).st_mode));
    EXPECT_TRUE(S_ISLNK(lstat_of(path("two")).st_mode));
    EXPECT_THAT(names(root_), ElementsAre("d", "one", "two"));
    EXPECT_THAT(names(path("d")), ElementsAre("target"));
}

TEST_F(FilesystemWriteTest, ADanglingLinkMakesItsTarget) {
    make_directory("d");
    make_link("d/target", "link");
    make_link("missing/target", "broken");
    make_link("d/", "slash");
    auto written = write(path("link"), "new");
    ASSERT_TRUE(written) << error_of(written);
    EXPECT_TRUE(written->created);
    EXPECT_EQ(content(path("d/target")), "new");
    EXPECT_TRUE(S_ISLNK(lstat_of(path("link")).st_mode));
    EXPECT_EQ(error_of(write(path("broken"), "x")), "open " + path("broken") + ": no such file or directory");
    EXPECT_EQ(error_of(write(path("slash"), "x")), "open " + path("slash") + ": is a directory");
}

TEST_F(FilesystemWriteTest, LinksThatTheKernelDoesNotFollowAreNotFollowed) {
    std::string target = make_file("target", "old");
    make_link("target", "link");
    // As with fs.protected_symlinks and somebody else's link in /tmp: EACCES for whoever follows it.
    FailingCall following{SYS_newfstatat, 3, AT_SYMLINK_NOFOLLOW, EACCES, true};
    bool possible = with_failing_calls({following}, [&] {
        EXPECT_EQ(error_of(write(path("link"), "x")), "open " + path("link") + ": permission denied");
    });
    if (!possible) GTEST_SKIP() << "no system call filters here";
    EXPECT_EQ(content(target), "old");
}

TEST_F(FilesystemWriteTest, LinksOfProcLeadToOpenFiles) {
    std::string file = make_file("f", "old content");
    UniqueFd fd(::open(file.c_str(), O_RDWR | O_CLOEXEC));
    ::unlink(file.c_str());  // Now only the kernel can follow the link.
    std::string link = "/proc/self/fd/" + std::to_string(fd.get());
    auto written = write(link, "new");
    ASSERT_TRUE(written) << error_of(written);
    char bytes[16] = {};
    EXPECT_EQ(::pread(fd.get(), bytes, sizeof bytes, 0), 3);
    EXPECT_STREQ(bytes, "new");
    EXPECT_THAT(names(root_), IsEmpty());
}

TEST_F(FilesystemWriteTest, HardLinksStayTogether) {
    std::string one = make_file("one", "a longer old text", 0640);
    std::string two = path("two");
    ASSERT_EQ(::link(one.c_str(), two.c_str()), 0);
    auto written = write(one, "new");
    ASSERT_TRUE(written) << error_of(written);
    EXPECT_FALSE(written->atomic);
    EXPECT_EQ(content(two), "new");
    EXPECT_EQ(lstat_of(one).st_nlink, 2U);
    EXPECT_EQ(mode_of(one), 0640U);
}

TEST_F(FilesystemWriteTest, ABrokenSourceLeavesTheOldFile) {
    std::string file = make_file("f", "old");
    FailingSource source;
    EXPECT_EQ(error_of(write_file(file, {}, source)), "the source broke");
    EXPECT_EQ(content(file), "old");
    EXPECT_EQ(error_of(write_file(path("new"), {}, source)), "the source broke");
    EXPECT_THAT(names(root_), ElementsAre("f"));
}

TEST_F(FilesystemWriteTest, MetadataIsReplacedAsASet) {
    std::string file = make_file("f");
    if (::setxattr(file.c_str(), "user.e2b.old", "1", 1, 0) != 0)
        GTEST_SKIP() << "no extended attributes here";
    ::setxattr(file.c_str(), "user.other", "2", 1, 0);
    ASSERT_TRUE(write(file, "kept"));
    StatOptions with_metadata;
    with_metadata.metadata = true;
    EXPECT_EQ(stat(file, with_metadata)->metadata, (Metadata{{"old", "1"}}));

    WriteOptions options;
    options.metadata = Metadata{{"author", "me"}, {"empty", ""}};
    for (bool append : {false, true}) {
        options.append = append;
        ASSERT_TRUE(write(file, "x", options));
        EXPECT_EQ(stat(file, with_metadata)->metadata, (Metadata{{"author", "me"}, {"empty", ""}}));
    }
    EXPECT_EQ(::getxattr(file.c_str(), "user.other", nullptr, 0), 1);
    options.metadata = Metadata{};
    ASSERT_TRUE(write(file, "x", options));
    EXPECT_TRUE(stat(file, with_metadata)->metadata.empty());
}

TEST_F(FilesystemWriteTest, ReadersSeeOneOfTheWritersWhole) {
    constexpr std::size_t kSize = 400'000;
    std::string file = make_file("f", std::string(kSize, 'a'));
    std::atomic<bool> stop = false;
    std::atomic<int> writes = 0;
    std::vector<std::thread> writers;
    for (char letter : {'b', 'c'}) {
        writers.emplace_back([&, letter] {
            while (!stop) {
                if (!write(file, std::string(kSize, letter))) return;
                ++writes;
            }
        });
    }
    int reads = 0;
    int torn = 0;
    auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while ((reads < 200 || writes < 50) && std::chrono::steady_clock::now() < end) {
        std::string text = content(file);
        ++reads;
        if (text.size() != kSize || text.find_first_not_of(text[0]) != std::string::npos) ++torn;
    }
    stop = true;
    for (std::thread& writer : writers) writer.join();
    EXPECT_EQ(torn, 0);
    EXPECT_GE(writes, 50);
    EXPECT_THAT(names(root_), ElementsAre("f"));
}

TEST_F(FilesystemWriteTest, ARaceForANewFileHasOneWholeWinner) {
    for (int round = 0; round < 50; ++round) {
        std::string file = path("f" + std::to_string(round));
        std::atomic<int> created = 0;
        std::vector<std::thread> writers;
        for (char letter : {'a', 'b', 'c', 'd'}) {
            writers.emplace_back([&, letter] {
                auto written = write(file, std::string(5000, letter));
                ASSERT_TRUE(written) << error_of(written);
                if (written->created) ++created;
            });
        }
        for (std::thread& writer : writers) writer.join();
        std::string text = content(file);
        EXPECT_EQ(text, std::string(5000, text[0]));
        EXPECT_EQ(created, 1);
    }
    EXPECT_EQ(names(root_).size(), 50U);
}

// Has all of its bytes in a file without a name.
class UnnamedSource final : public ByteSource {
  public:
    UnnamedSource(const std::string& folder, const std::string& bytes)
        : file_(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)) {
        EXPECT_EQ(::pwrite(file_.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    }
    Result<std::size_t> read(std::uint64_t offset, std::span<char> out) override {
        ssize_t count = ::pread(file_.get(), out.data(), out.size(), static_cast<off_t>(offset));
        return static_cast<std::size_t>(std::max<ssize_t>(count, 0));
    }
    int unnamed_file() const override { return file_.get(); }
    ino_t inode() const {
        struct stat info {};
        ::fstat(file_.get(), &info);
        return info.st_ino;
    }

  private:
    UniqueFd file_;
};

TEST_F(FilesystemWriteTest, AFileWithoutANameBecomesTheWrittenOne) {
    UnnamedSource fresh(root_, "first");
    WriteOptions options;
    options.mode = 0640;
    auto written = write_file(path("f"), options, fresh);
    ASSERT_TRUE(written) << error_of(written);
    EXPECT_TRUE(written->created && written->atomic);
    EXPECT_EQ(written->bytes, 5U);
    EXPECT_EQ(lstat_of(path("f")).st_ino, fresh.inode());
    EXPECT_EQ(content(path("f")), "first");
    EXPECT_EQ(mode_of(path("f")), 0640U);

    UnnamedSource next(root_, "second one");
    written = write_file(path("f"), WriteOptions(), next);
    ASSERT_TRUE(written) << error_of(written);
    EXPECT_TRUE(!written->created && written->atomic);
    EXPECT_EQ(written->bytes, 10U);
    EXPECT_EQ(lstat_of(path("f")).st_ino, next.inode());
    EXPECT_EQ(content(path("f")), "second one");
    EXPECT_EQ(mode_of(path("f")), 0640U) << "as before";
    EXPECT_THAT(names(root_), ElementsAre("f"));
}

TEST_F(FilesystemWriteTest, AFileWithoutANameIsCopiedWhereItWouldNotBeTheSame) {
    auto copied = [this](const std::string& to, const WriteOptions& options, const std::string& from) {
        UnnamedSource source(from, "content");
        auto written = write_file(to, options, source);
        EXPECT_TRUE(written) << error_of(written);
        EXPECT_EQ(content(to), "content");
        return lstat_of(to).st_ino != source.inode();
    };
    WriteOptions with_mode;
    with_mode.mode = 0644;
    EXPECT_TRUE(copied(path("umask"), WriteOptions(), root_)) << "the umask counts";
    std::string group = path("group");
    std::filesystem::create_directory(group);
    ::chmod(group.c_str(), 02755);
    EXPECT_TRUE(copied(group + "/f", with_mode, root_)) << "the directory's group counts";
    EXPECT_FALSE(copied(path("plain"), with_mode, root_));
    std::string other = "/dev/shm";
    struct stat here {};
    struct stat there {};
    if (::stat(other.c_str(), &there) == 0 && ::stat(root_.c_str(), &here) == 0 &&
        here.st_dev != there.st_dev) {
        EXPECT_TRUE(copied(path("elsewhere"), with_mode, other));
    }
}

}  // namespace
}  // namespace sandbox::files
