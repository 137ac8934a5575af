#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include <chrono>

#include "filesystem_fixture.hpp"

namespace sandbox::files {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

class FilesystemLookTest : public FilesystemTest {
  protected:
    static std::string read_all(const OpenedFile& file, std::size_t step) {
        std::string all;
        std::string buffer(step, '\0');
        while (true) {
            auto count = read_at(file, all.size(), std::span<char>(buffer.data(), buffer.size()));
            if (!count) return error_of(count);
            if (*count == 0) return all;
            all.append(buffer.data(), *count);
        }
    }

    std::vector<std::string> walked(std::uint32_t depth) const {
        std::vector<std::string> paths;
        WalkOptions options;
        options.depth = depth;
        Result<> done = walk(root_, options, [&](Entry&& entry) {
            EXPECT_EQ(entry.path.substr(0, root_.size() + 1), root_ + "/");
            paths.push_back(entry.path.substr(root_.size() + 1));
            return true;
        });
        EXPECT_TRUE(done);
        return paths;
    }
};

TEST_F(FilesystemLookTest, ReadsFiles) {
    std::string text;
    for (int i = 0; i < 100'000; ++i) text += std::to_string(i);
    make_file("f", text, 0640);
    auto file = open_for_read(path("f"));
    ASSERT_TRUE(file) << error_of(file);
    EXPECT_EQ(file->kind, Kind::file);
    EXPECT_EQ(file->size, text.size());
    EXPECT_TRUE(file->size_known);
    EXPECT_EQ(file->inode, lstat_of(path("f")).st_ino);
    EXPECT_EQ(file->modified.time_since_epoch().count() / 1'000'000'000, lstat_of(path("f")).st_mtim.tv_sec);
    EXPECT_EQ(read_all(*file, 4093), text);
    std::string middle(10, '\0');
    EXPECT_EQ(*read_at(*file, 1000, std::span<char>(middle.data(), middle.size())), 10U);
    EXPECT_EQ(middle, text.substr(1000, 10));
    EXPECT_EQ(*read_at(*file, text.size() + 5, std::span<char>(middle.data(), middle.size())), 0U);
    EXPECT_EQ(read_all(*open_for_read(make_file("empty", "")), 10), "");
    EXPECT_TRUE(open_for_read(path("empty"))->size_known);
}

TEST_F(FilesystemLookTest, FilesOfProcAreReadToTheEnd) {
    auto file = open_for_read("/proc/self/status");
    ASSERT_TRUE(file) << error_of(file);
    EXPECT_FALSE(file->size_known);
    EXPECT_THAT(read_all(*file, 512), StartsWith("Name:\t"));
}

TEST_F(FilesystemLookTest, ReadErrors) {
    make_directory("dir");
    make_file("file");
    make_link("loop", "loop");
    make_link("nowhere", "dangling");
    for (const auto& [name, error] : std::vector<std::pair<std::string, std::string>>{
             {path("missing"), "no such file or directory"},
             {path("dangling"), "no such file or directory"},
             {"", "no such file or directory"},
             {path("file/x"), "not a directory"},
             {path("file/"), "not a directory"},
             {path("loop"), "too many levels of symbolic links"},
             {path(std::string(300, 'n')), "file name too long"},
             {std::string("a\0b", 3), "invalid argument"},
         }) {
        EXPECT_EQ(error_of(open_for_read(name)), "open " + name + ": " + error);
    }
    EXPECT_EQ(error_of(open_for_read(path("dir"))), "read " + path("dir") + ": is a directory");
    ReadOptions bounded;
    bounded.bounded = true;
    EXPECT_EQ(error_of(open_for_read(path("dir"), bounded)), "read " + path("dir") + ": is a directory");
}

TEST_F(FilesystemLookTest, SpecialFilesOnlyWithALength) {
    ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0644), 0);
    UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path("sock").copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);

    EXPECT_EQ(error_of(open_for_read(path("fifo"))),
              "open " + path("fifo") + ": is a named pipe, which is only read with a length");
    EXPECT_EQ(error_of(open_for_read("/dev/zero")),
              "open /dev/zero: is a device, which is only read with a length");
    EXPECT_EQ(error_of(open_for_read(path("sock"))), "open " + path("sock") + ": is a socket");

    ReadOptions bounded;
    bounded.bounded = true;
    EXPECT_EQ(error_of(open_for_read(path("sock"), bounded)),
              "open " + path("sock") + ": no such device or address");
    auto zero = open_for_read("/dev/zero", bounded);
    ASSERT_TRUE(zero) << error_of(zero);
    EXPECT_FALSE(zero->size_known);
    std::string buffer(8, 'x');
    EXPECT_EQ(*read_at(*zero, 0, std::span<char>(buffer.data(), buffer.size())), 8U);
    EXPECT_EQ(buffer, std::string(8, '\0'));
}

TEST_F(FilesystemLookTest, ARefusedFifoKeepsItsWriterWaiting) {
    ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0644), 0);
    EXPECT_FALSE(open_for_read(path("fifo")));
    // Had it been opened for reading, a writer would find a reader now or have found one.
    EXPECT_EQ(::open(path("fifo").c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC), -1);
    EXPECT_EQ(errno, ENXIO);
}

TEST_F(FilesystemLookTest, AFifoGivesWhatIsThereAndNeverWaits) {
    ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0644), 0);
    ReadOptions bounded;
    bounded.bounded = true;
    auto file = open_for_read(path("fifo"), bounded);
    ASSERT_TRUE(file) << error_of(file);
    EXPECT_TRUE(file->is_stream());
    UniqueFd writer(::open(path("fifo").c_str(), O_WRONLY | O_CLOEXEC));
    std::string buffer(8, 'x');
    std::span<char> out(buffer.data(), buffer.size());
    Result<std::size_t> nothing = read_at(*file, 0, out);
    ASSERT_FALSE(nothing);
    EXPECT_EQ(nothing.error().sys_errno, EAGAIN);
    EXPECT_EQ(::write(writer.get(), "hello", 5), 5);
    EXPECT_EQ(*read_at(*file, 0, out), 5U);
    writer.reset();
    EXPECT_EQ(*read_at(*file, 0, out), 0U);
}

TEST_F(FilesystemLookTest, ListsSortedByBytes) {
    for (const char* name : {"b", "a", "B", ".hidden", "\xC3\xA9", "a b", "\xFF\xFE"}) make_file(name);
    make_directory("dir");
    make_link(root_, "link");
    auto listed = list_dir(root_);
    ASSERT_TRUE(listed) << error_of(listed);
    EXPECT_THAT(*listed, ElementsAre(".hidden", "B", "a", "a b", "b", "dir", "link", "\xC3\xA9", "\xFF\xFE"));
    EXPECT_EQ(*list_dir(path("link")), *listed);
    EXPECT_THAT(*list_dir(path("dir")), IsEmpty());
}

TEST_F(FilesystemLookTest, ListErrors) {
    make_file("file");
    make_directory("closed", 0700);
    EXPECT_EQ(error_of(list_dir(path("none"))), "open " + path("none") + ": no such file or directory");
    EXPECT_EQ(error_of(list_dir(path("file"))), "open " + path("file") + ": not a directory");
    EXPECT_EQ(error_of(list_dir("")), "open : no such file or directory");
    std::string nul("a\0b", 3);
    EXPECT_EQ(error_of(list_dir(nul)), "open " + nul + ": invalid argument");
    if (::geteuid() == 0) {
        as_nobody([&] {
            EXPECT_EQ(error_of(list_dir(path("closed"))), "open " + path("closed") + ": permission denied");
        });
    }
}

TEST_F(FilesystemLookTest, ListsManyNames) {
    for (int i = 0; i < 3000; ++i) {
        UniqueFd fd(::open(path("f" + std::to_string(i)).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        ASSERT_TRUE(fd);
    }
    auto listed = list_dir(root_);
    ASSERT_TRUE(listed);
    EXPECT_EQ(listed->size(), 3000U);
    EXPECT_TRUE(std::ranges::is_sorted(*listed));
}

TEST_F(FilesystemLookTest, StatTellsEverything) {
    std::string file = make_file("f", "12345", 02755);
    auto entry = stat(file);
    ASSERT_TRUE(entry) << error_of(entry);
    struct stat info = lstat_of(file);
    EXPECT_EQ(entry->name, "f");
    EXPECT_EQ(entry->path, file);
    EXPECT_EQ(entry->kind, Kind::file);
    EXPECT_EQ(entry->size, 5U);
    EXPECT_EQ(entry->mode, 02755U);
    EXPECT_EQ(entry->uid, info.st_uid);
    EXPECT_EQ(entry->gid, info.st_gid);
    EXPECT_EQ(entry->inode, info.st_ino);
    EXPECT_EQ(entry->modified.time_since_epoch(),
              std::chrono::seconds(info.st_mtim.tv_sec) + std::chrono::nanoseconds(info.st_mtim.tv_nsec));
    EXPECT_EQ(stat("/")->name, "/");
    EXPECT_EQ(stat(root_ + "/")->name, root_.substr(root_.rfind('/') + 1));
    EXPECT_EQ(stat("/dev/null")->kind, Kind::char_device);
    EXPECT_EQ(kind_name(stat(root_)->kind), "directory");
}

TEST_F(FilesystemLookTest, StatOfLinks) {
    make_file("target", "12345", 0600);
    make_link("target", "link");
    make_link("link", "chain");
    make_link("nowhere", "dangling");
    auto link = stat(path("chain"));
    ASSERT_TRUE(link) << error_of(link);
    EXPECT_EQ(link->kind, Kind::symlink);
    EXPECT_EQ(link->link_text, "link");
    EXPECT_EQ(link->resolved, std::filesystem::canonical(path("target")).string());
    EXPECT_EQ(link->target_kind, Kind::file);
    EXPECT_EQ(link->target_mode, 0600U);

    auto dangling = stat(path("dangling"));
    ASSERT_TRUE(dangling);
    EXPECT_EQ(dangling->link_text, "nowhere");
    EXPECT_EQ(dangling->resolved, "");
    EXPECT_FALSE(dangling->target_kind);

    StatOptions follow;
    follow.follow = true;
    EXPECT_EQ(stat(path("chain"), follow)->kind, Kind::file);
    EXPECT_EQ(stat(path("chain"), follow)->size, 5U);
    EXPECT_EQ(error_of(stat(path("dangling"), follow)),
              "stat " + path("dangling") + ": no such file or directory");
    EXPECT_EQ(error_of(stat(path("none"))), "lstat " + path("none") + ": no such file or directory");
    EXPECT_EQ(stat(path("none")).error().code, Errc::not_found);
}

TEST_F(FilesystemLookTest, WalksInOrderDownToADepth) {
    make_directory("b");
    make_directory("b/y");
    make_directory("b/y/deep");
    make_file("b/x");
    make_file("b/z");
    make_file("a");
    make_file("b.txt");
    make_file("c");
    make_link("b", "link");
    EXPECT_THAT(walked(1), ElementsAre("a", "b", "b.txt", "c", "link"));
    EXPECT_THAT(walked(2), ElementsAre("a", "b", "b/x", "b/y", "b/z", "b.txt", "c", "link"));
    EXPECT_THAT(walked(UINT32_MAX),
                ElementsAre("a", "b", "b/x", "b/y", "b/y/deep", "b/z", "b.txt", "c", "link"));
}

TEST_F(FilesystemLookTest, AWalkEndsWhenToldTo) {
    for (const char* name : {"a", "b", "c"}) make_file(name);
    int seen = 0;
    EXPECT_TRUE(walk(root_, {}, [&](Entry&&) { return ++seen < 2; }));
    EXPECT_EQ(seen, 2);
}

TEST_F(FilesystemLookTest, AWalkKeepsToThePathItWasGiven) {
    make_directory("d");
    make_file("d/f");
    make_link("d", "link");
    std::vector<std::string> paths;
    auto collect = [&](Entry&& entry) {
        paths.push_back(entry.path);
        return true;
    };
    EXPECT_TRUE(walk(path("link"), {}, collect));
    EXPECT_TRUE(walk(path("link/"), {}, collect));
    EXPECT_THAT(paths, ElementsAre(path("link/f"), path("link/f")));
    EXPECT_EQ(error_of(walk(path("d/f"), {}, collect)), "open " + path("d/f") + ": not a directory");
    EXPECT_EQ(error_of(walk(path("none"), {}, collect)),
              "open " + path("none") + ": no such file or directory");
}

TEST_F(FilesystemLookTest, AWalkGivesMetadata) {
    make_directory("d");
    std::string file = make_file("d/f");
    if (::setxattr(file.c_str(), "user.e2b.k", "v", 1, 0) != 0) GTEST_SKIP() << "no extended attributes here";
    WalkOptions options;
    options.depth = 2;
    options.metadata = true;
    Metadata metadata;
    EXPECT_TRUE(walk(root_, options, [&](Entry&& entry) {
        if (entry.name == "f") metadata = entry.metadata;
        return true;
    }));
    EXPECT_EQ(metadata, (Metadata{{"k", "v"}}));
}

TEST_F(FilesystemLookTest, AWalkGoesOnWhereItMayNotLook) {
    SKIP_UNLESS_ROOT();
    make_directory("closed", 0700);
    make_file("closed/f");
    make_file("d");
    as_nobody([&] { EXPECT_THAT(walked(5), ElementsAre("closed", "d")); });
}

}  // namespace
}  // namespace sandbox::files
