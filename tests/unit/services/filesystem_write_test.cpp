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

class FailingSource final : public ByteSource {
  public:
    Result<std::size_t> read(std::uint64_t offset, std::span<char> out) override {
        if (offset >= 1000) return Error{Errc::internal, "the source broke", EIO};
        std::fill_n(out.data(), 500, 'x');
        return std::size_t{500};
    }
};

// Can be read to its end once; the second time it breaks in the middle.
class OnceSource final : public ByteSource {
  public:
    Result<std::size_t> read(std::uint64_t offset, std::span<char> out) override {
        if (offset >= 1000 && !ended_) {
            ended_ = true;
            return std::size_t{0};
        }
        if (offset >= 500 && ended_) return Error{Errc::internal, "the source broke", EIO};
        std::fill_n(out.data(), 500, 'x');
        return std::size_t{500};
    }

  private:
    bool ended_ = false;
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

TEST_F(FilesystemWriteTest, WithoutRights) {
    SKIP_UNLESS_ROOT();
    make_file("root_only", "old", 0600);
    std::string read_only = make_file("read_only", "old", 0444);
    std::string writable = make_file("writable", "old", 0666);
    std::string closed = make_directory("closed", 0700);
    make_file("closed/f");
    std::string open_directory = make_directory("open", 0777);
    std::string foreign = make_file("open/foreign", "old", 0666);
    as_nobody([&] {
        for (const std::string& file : {read_only, path("new"), closed + "/f", closed + "/new"}) {
            EXPECT_EQ(error_of(write(file, "x")), "open " + file + ": permission denied");
        }
        // The directory takes no new names, the file does take bytes.
        auto in_place = write(writable, "new");
        ASSERT_TRUE(in_place) << error_of(in_place);
        EXPECT_FALSE(in_place->atomic);
        // The owner of the file can't be given to another file.
        auto kept = write(foreign, "new");
        ASSERT_TRUE(kept) << error_of(kept);
        EXPECT_FALSE(kept->atomic);
        auto own = write(open_directory + "/own", "new");
        ASSERT_TRUE(own) << error_of(own);
        EXPECT_TRUE(own->atomic);
        own = write(open_directory + "/own", "newer");
        ASSERT_TRUE(own) << error_of(own);
        EXPECT_TRUE(own->atomic);
    });
    EXPECT_EQ(content(read_only), "old");
    EXPECT_EQ(content(writable), "new");
    EXPECT_EQ(content(foreign), "new");
    EXPECT_EQ(lstat_of(foreign).st_uid, 0U);
    EXPECT_EQ(content(open_directory + "/own"), "newer");
    EXPECT_THAT(names(open_directory), ElementsAre("foreign", "own"));
}

TEST_F(FilesystemWriteTest, OnMounts) {
    std::string plain = make_file("plain", "old");
    std::string mounted = make_file("mounted", "old");
    std::string source = make_file("source", "the mounted one");
    std::string read_only = make_directory("ro");
    make_file("ro/f", "old");
    bool possible = in_mount_namespace([&] {
        // As a container's /etc/hosts: a file that is a mount point.
        ASSERT_EQ(::mount(source.c_str(), mounted.c_str(), nullptr, MS_BIND, nullptr), 0);
        auto written = write(mounted, "new");
        EXPECT_EQ(error_of(written), "ok");
        if (written) {
            EXPECT_FALSE(written->atomic);
        }
        EXPECT_EQ(content(mounted), "new");

        ASSERT_EQ(::mount(read_only.c_str(), read_only.c_str(), nullptr, MS_BIND, nullptr), 0);
        ASSERT_EQ(::mount(nullptr, read_only.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr), 0);
        for (const char* name : {"/f", "/new"}) {
            EXPECT_EQ(error_of(write(read_only + name, "x")),
                      "open " + read_only + name + ": read-only file system");
        }
        // A writable file on a read-only directory.
        ASSERT_EQ(::mount(plain.c_str(), (read_only + "/f").c_str(), nullptr, MS_BIND, nullptr), 0);
        EXPECT_EQ(error_of(write(read_only + "/f", "through")), "ok");
    });
    if (!possible) SKIP_WITHOUT_MOUNTS();
    EXPECT_EQ(content(source), "new");
    EXPECT_EQ(content(plain), "through");
    EXPECT_EQ(content(mounted), "old");
    EXPECT_EQ(content(read_only + "/f"), "old");
}

TEST_F(FilesystemWriteTest, WithoutSpace) {
    std::string small = make_directory("small");
    bool possible = in_mount_namespace([&] {
        ASSERT_EQ(::mount("none", small.c_str(), "tmpfs", 0, "size=1m"), 0);
        std::string old(600'000, 'o');
        ASSERT_TRUE(write(small + "/f", old));
        for (const std::string& file : {small + "/f", small + "/new"}) {
            auto written = write(file, std::string(2'000'000, 'n'));
            EXPECT_EQ(error_of(written), "write " + file + ": no space left on device");
            EXPECT_EQ(written.error().sys_errno, ENOSPC);
        }
        EXPECT_EQ(content(small + "/f"), old);
        EXPECT_THAT(names(small), ElementsAre("f"));
        // In place it is told, too.
        ASSERT_EQ(::link((small + "/f").c_str(), (small + "/g").c_str()), 0);
        EXPECT_EQ(error_of(write(small + "/f", std::string(2'000'000, 'n'))),
                  "write " + small + "/f: no space left on device");
        EXPECT_THAT(names(small), ElementsAre("f", "g"));
    });
    if (!possible) SKIP_WITHOUT_MOUNTS();
}

TEST_F(FilesystemWriteTest, OnAnOverlay) {
    for (const char* name : {"lower", "upper", "work", "merged"}) make_directory(name);
    std::string merged = path("merged");
    bool mounted = false;
    bool possible = in_mount_namespace([&] {
        ASSERT_EQ(::mount("none", path("lower").c_str(), "tmpfs", 0, "size=1m"), 0);
        make_file("lower/f", "from the image", 0640);
        std::string options =
            "lowerdir=" + path("lower") + ",upperdir=" + path("upper") + ",workdir=" + path("work");
        mounted = ::mount("none", merged.c_str(), "overlay", 0, options.c_str()) == 0;
        if (!mounted) return;
        for (const char* text : {"one", "two"}) {
            auto written = write(merged + "/f", text);
            EXPECT_EQ(error_of(written), "ok");
            if (written) {
                EXPECT_TRUE(written->atomic);
            }
            EXPECT_EQ(content(merged + "/f"), text);
            EXPECT_EQ(mode_of(merged + "/f"), 0640U);
        }
        EXPECT_EQ(error_of(write(merged + "/new", "x")), "ok");
        EXPECT_THAT(names(merged), ElementsAre("f", "new"));
    });
    if (!possible || !mounted) SKIP_WITHOUT_MOUNTS();
}

TEST_F(FilesystemWriteTest, WithoutUnnamedFilesThereAreStagingNames) {
    std::string file = make_file("f", "old", 0640);
    FailingCall call{SYS_openat, 2, O_TMPFILE & ~O_DIRECTORY, EOPNOTSUPP};
    bool possible = with_failing_calls({call}, [&] {
        auto written = write(file, "new");
        ASSERT_TRUE(written) << error_of(written);
        EXPECT_TRUE(written->atomic);
        written = write(path("new"), "x");
        ASSERT_TRUE(written) << error_of(written);
        EXPECT_TRUE(written->atomic);
        EXPECT_TRUE(written->created);
        EXPECT_EQ(mode_of(path("new")), 0644U);
        FailingSource source;
        EXPECT_EQ(error_of(write_file(file, {}, source)), "the source broke");
    });
    if (!possible) GTEST_SKIP() << "no system call filters here";
    EXPECT_EQ(content(file), "new");
    EXPECT_EQ(mode_of(file), 0640U);
    EXPECT_THAT(names(root_), ElementsAre("f", "new"));
}

TEST_F(FilesystemWriteTest, WhereRenamingIsRefusedTheFileIsWrittenInPlace) {
    for (int error : {EXDEV, EACCES, EPERM, EBUSY, ENOSYS, EROFS, EINVAL}) {
        std::string file = make_file("f", "a longer old text", 0640);
        ino_t inode = lstat_of(file).st_ino;
        bool possible =
            with_failing_calls({{SYS_renameat2, -1, 0, error}, {SYS_renameat, -1, 0, error}}, [&] {
                auto written = write(file, "new");
                ASSERT_TRUE(written) << error_of(written);
                EXPECT_FALSE(written->atomic);
            });
        if (!possible) GTEST_SKIP() << "no system call filters here";
        EXPECT_EQ(content(file), "new");
        EXPECT_EQ(lstat_of(file).st_ino, inode);
        EXPECT_EQ(mode_of(file), 0640U);
        EXPECT_THAT(names(root_), ElementsAre("f"));
    }
}

TEST_F(FilesystemWriteTest, WhereStagingIsRefusedNewFilesAreMadeInPlace) {
    FailingCall no_links{SYS_linkat, -1, 0, EPERM};
    bool possible = with_failing_calls({no_links}, [&] {
        auto written = write(path("new"), "x");
        ASSERT_TRUE(written) << error_of(written);
        EXPECT_FALSE(written->atomic);
        EXPECT_TRUE(written->created);
        OnceSource source;
        EXPECT_EQ(error_of(write_file(path("broken"), {}, source)), "the source broke");
    });
    if (!possible) GTEST_SKIP() << "no system call filters here";
    EXPECT_EQ(content(path("new")), "x");
    EXPECT_THAT(names(root_), ElementsAre("new"));
}

TEST_F(FilesystemWriteTest, NoSpaceForTheNameIsNoReasonToGoInPlace) {
    std::string file = make_file("f", "old");
    bool possible = with_failing_calls({{SYS_renameat2, -1, 0, ENOSPC}, {SYS_renameat, -1, 0, ENOSPC}}, [&] {
        EXPECT_EQ(error_of(write(file, "new")), "write " + file + ": no space left on device");
    });
    if (!possible) GTEST_SKIP() << "no system call filters here";
    EXPECT_EQ(content(file), "old");
    EXPECT_THAT(names(root_), ElementsAre("f"));
}

TEST_F(FilesystemWriteTest, StagingNamesAreRecognised) {
    for (const char* name : {"", ".", "f", ".f.tmp", ".sbx-tmp", ".f.0123456789abcdeX.sbx-tmp",
                             "f.0123456789abcdef.sbx-tmp", ".0123456789abcdef.sbx-tmp"}) {
        EXPECT_FALSE(is_staging_name(name)) << name;
    }
    EXPECT_TRUE(is_staging_name(".f.0123456789abcdef.sbx-tmp"));
    EXPECT_TRUE(is_staging_name(".x.y.0123456789abcdef.sbx-tmp"));
}

}  // namespace
}  // namespace sandbox::files
