// Writing where a right, the space or an ability of the file system is missing.
#include "filesystem_fixture.hpp"

namespace sandbox::files {
namespace {

using testing::ElementsAre;

class FilesystemWriteRefusalsTest : public FilesystemTest {};

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

TEST_F(FilesystemWriteRefusalsTest, WithoutRights) {
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

TEST_F(FilesystemWriteRefusalsTest, OnMounts) {
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

TEST_F(FilesystemWriteRefusalsTest, WithoutSpace) {
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

TEST_F(FilesystemWriteRefusalsTest, OnAnOverlay) {
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

TEST_F(FilesystemWriteRefusalsTest, WithoutUnnamedFilesThereAreStagingNames) {
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

TEST_F(FilesystemWriteRefusalsTest, WhereRenamingIsRefusedTheFileIsWrittenInPlace) {
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

TEST_F(FilesystemWriteRefusalsTest, WhereStagingIsRefusedNewFilesAreMadeInPlace) {
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

TEST_F(FilesystemWriteRefusalsTest, NoSpaceForTheNameIsNoReasonToGoInPlace) {
    std::string file = make_file("f", "old");
    bool possible = with_failing_calls({{SYS_renameat2, -1, 0, ENOSPC}, {SYS_renameat, -1, 0, ENOSPC}}, [&] {
        EXPECT_EQ(error_of(write(file, "new")), "write " + file + ": no space left on device");
    });
    if (!possible) GTEST_SKIP() << "no system call filters here";
    EXPECT_EQ(content(file), "old");
    EXPECT_THAT(names(root_), ElementsAre("f"));
}

TEST_F(FilesystemWriteRefusalsTest, StagingNamesAreRecognised) {
    for (const char* name : {"", ".", "f", ".f.tmp", ".sbx-tmp", ".f.0123456789abcdeX.sbx-tmp",
                             "f.0123456789abcdef.sbx-tmp", ".0123456789abcdef.sbx-tmp"}) {
        EXPECT_FALSE(is_staging_name(name)) << name;
    }
    EXPECT_TRUE(is_staging_name(".f.0123456789abcdef.sbx-tmp"));
    EXPECT_TRUE(is_staging_name(".x.y.0123456789abcdef.sbx-tmp"));
}

}  // namespace
}  // namespace sandbox::files
