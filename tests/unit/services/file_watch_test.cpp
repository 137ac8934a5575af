#include "services/file_watch.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "support/loop_fixture.hpp"

namespace sandbox {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

class FileWatchTest : public test::LoopTest {
  protected:
    FileWatchTest() {
        std::string name = (fs::temp_directory_path() / "file-watch-XXXXXX").string();
        dir_ = ::mkdtemp(name.data());
    }
    ~FileWatchTest() override { fs::remove_all(dir_); }

    std::unique_ptr<FileWatch> start(bool recursive = false, bool entries = false) {
        WatchOptions options;
        options.recursive = recursive;
        options.entries = entries;
        auto watch = run(FileWatch::start(loop_, pool_, dir_, options));
        EXPECT_TRUE(watch);
        return std::move(*watch);
    }
    std::string at(const std::string& name) const { return dir_ + "/" + name; }
    void write(const std::string& name, const std::string& text = "x") { std::ofstream(at(name)) << text; }

    // Collects until all of `wanted`, such as "create a/b", have been told.
    void expect(FileWatch& watch, std::vector<std::string> wanted) {
        drive_until([&] {
            for (const FileChange& change : watch.take()) told_.push_back(text(change));
            return std::ranges::all_of(
                wanted, [&](const std::string& one) { return std::ranges::find(told_, one) != told_.end(); });
        });
        for (const std::string& one : wanted) EXPECT_TRUE(std::ranges::count(told_, one) > 0) << one;
    }
    static std::string text(const FileChange& change) {
        static constexpr const char* kNames[] = {"", "create ", "write ", "remove ", "rename ", "chmod "};
        return kNames[static_cast<std::size_t>(change.kind)] + change.name;
    }

    std::string dir_;
    BlockingPool pool_{loop_, "test", 1, 2};
    std::vector<std::string> told_;
};

TEST_F(FileWatchTest, EveryKindOfChange) {
    auto watch = start();
    write("f");
    expect(*watch, {"create f", "write f"});
    ::chmod(at("f").c_str(), 0600);
    fs::rename(at("f"), at("g"));
    fs::remove(at("g"));
    expect(*watch, {"chmod f", "rename f", "create g", "remove g"});
}

TEST_F(FileWatchTest, WhatChangesRightAfterTheStartIsTold) {
    auto watch = start(true);
    fs::create_directories(at("a/b/c"));
    write("a/b/c/f");
    expect(*watch, {"create a", "create a/b", "create a/b/c", "create a/b/c/f"});
    EXPECT_EQ(std::ranges::count(told_, "create a/b/c/f"), 1);
    write("a/b/c/f", "more");
    told_.clear();
    expect(*watch, {"write a/b/c/f"});
}

TEST_F(FileWatchTest, DirectoriesThatMoveAreFollowed) {
    fs::create_directories(at("from/deep"));
    auto watch = start(true);
    fs::rename(at("from"), at("to"));
    expect(*watch, {"rename from", "create to", "create to/deep"});
    write("to/deep/f");
    expect(*watch, {"create to/deep/f"});
    fs::remove_all(at("to"));
    expect(*watch, {"remove to/deep/f", "remove to/deep", "remove to"});
}

TEST_F(FileWatchTest, FilesThatTakeTheirPlaceWholeAreWritten) {
    auto watch = start();
    files::WriteOptions options;
    options.owner = files::Owner{::geteuid(), ::getegid()};
    MemorySource source("content");
    ASSERT_TRUE(files::write_file(at("f"), options, source));
    expect(*watch, {"create f", "write f"});
    told_.clear();
    ASSERT_TRUE(files::write_file(at("f"), options, source));
    expect(*watch, {"write f"});
    write("last");
    expect(*watch, {"create last"});
    for (const std::string& one : told_) {
        EXPECT_TRUE(one == "write f" || one.ends_with(" last")) << one;
    }
}

TEST_F(FileWatchTest, TheDirectoryItself) {
    auto watch = start();
    ::chmod(dir_.c_str(), 0700);
    expect(*watch, {"chmod ."});
    fs::remove(dir_);
    expect(*watch, {"remove ."});
}

TEST_F(FileWatchTest, Entries) {
    auto watch = start(false, true);
    write("f", "four");
    std::optional<files::Entry> entry;
    drive_until([&] {
        for (FileChange& change : watch->take()) {
            if (change.kind == ChangeKind::write && change.entry) entry = std::move(change.entry);
        }
        return entry.has_value();
    });
    EXPECT_EQ(entry->path, at("f"));
    EXPECT_EQ(entry->size, 4U);
}

TEST_F(FileWatchTest, WhatTheKernelsQueueLosesIsFoundByLooking) {
    std::size_t limit = 0;
    std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> limit;
    if (limit > 100'000) GTEST_SKIP() << "the queue is too long to fill";
    auto tree = WatchTree::arm(dir_, WatchOptions{});
    ASSERT_TRUE(tree);
    write("before");
    for (std::size_t i = 0; i < limit / 2; ++i) {  // at least three events each
        ::chmod(at("before").c_str(), i % 2 == 0 ? 0600 : 0644);
        UniqueFd file(::open(at("f" + std::to_string(i)).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        ASSERT_EQ(::write(file.get(), "x", 1), 1);
    }
    fs::remove(at("before"));
    std::set<std::string> created;
    bool removed = false;
    for (int empty = 0; empty < 2;) {
        std::vector<FileChange> changes = (*tree)->next_changes();
        empty = changes.empty() ? empty + 1 : 0;
        for (const FileChange& change : changes) {
            if (change.kind == ChangeKind::create) created.insert(change.name);
            if (text(change) == "remove before") removed = true;
        }
    }
    EXPECT_EQ(created.size(), limit / 2 + 1);
    EXPECT_TRUE(removed);
}

TEST_F(FileWatchTest, WhatCannotBeWatched) {
    write("file");
    for (const char* name : {"missing", "file"}) {
        auto watch = run(FileWatch::start(loop_, pool_, at(name), WatchOptions()));
        ASSERT_FALSE(watch);
        EXPECT_EQ(watch.error().code, Errc::not_found);
    }
}

TEST_F(FileWatchTest, WakingEndsAWaitOnce) {
    auto watch = start();
    watch->wake();
    EXPECT_TRUE(run(watch->wait_for(milliseconds(60'000))));
    EXPECT_FALSE(run(watch->wait_for(milliseconds(1))));
}

}  // namespace
}  // namespace sandbox
