#include "services/file_watch.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "support/folder.hpp"
#include "support/loop_fixture.hpp"

namespace sandbox {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

class FileWatchTest : public test::LoopTest {
  protected:
    std::unique_ptr<FileWatch> start(bool recursive = false, bool entries = false) {
        WatchOptions options;
        options.recursive = recursive;
        options.entries = entries;
        auto watch = run(watcher_.watch(dir_, options));
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

    test::Folder folder_;
    const std::string& dir_ = folder_.path();
    BlockingPool pool_{loop_, "test", 1, 4};
    FileWatcher watcher_{loop_, pool_};
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
    options.by_rename = true;
    MemorySource source("content");
    ASSERT_TRUE(files::write_file(at("f"), options, source));
    expect(*watch, {"create f", "write f"});
    EXPECT_THAT(told_, testing::ElementsAre("create f", "chmod f", "write f"));
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
    auto watch = start();
    write("before");
    for (std::size_t i = 0; i < limit / 2; ++i) {  // at least three events each
        ::chmod(at("before").c_str(), i % 2 == 0 ? 0600 : 0644);
        UniqueFd file(::open(at("f" + std::to_string(i)).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        ASSERT_EQ(::write(file.get(), "x", 1), 1);
    }
    fs::remove(at("before"));
    std::set<std::string> created;
    bool removed = false;
    drive_until([&] {
        for (const FileChange& change : watch->take()) {
            if (change.kind == ChangeKind::create) created.insert(change.name);
            if (text(change) == "remove before") removed = true;
        }
        return removed && created.size() == limit / 2 + 1;
    });
    EXPECT_EQ(created.size(), limit / 2 + 1);
    EXPECT_TRUE(removed);
}

TEST_F(FileWatchTest, WhatCannotBeWatched) {
    write("file");
    for (const char* name : {"missing", "file"}) {
        auto watch = run(watcher_.watch(at(name), WatchOptions()));
        ASSERT_FALSE(watch);
        EXPECT_EQ(watch.error().code, Errc::not_found);
    }
}

std::size_t inotify_instances() {
    return static_cast<std::size_t>(
        std::ranges::count_if(fs::directory_iterator("/proc/self/fd"), [](const auto& entry) {
            std::error_code ignored;
            return fs::read_symlink(entry.path(), ignored) == "anon_inode:inotify";
        }));
}

TEST_F(FileWatchTest, WatchesShareWhatTheKernelGives) {
    std::vector<std::unique_ptr<FileWatch>> watches;
    for (int i = 0; i < 300; ++i) watches.push_back(start(i % 2 == 0));
    EXPECT_EQ(inotify_instances(), 2U) << "one, and its duplicate";
    write("f");
    for (auto& watch : watches) {
        told_.clear();
        expect(*watch, {"create f", "write f"});
    }
    // One that ends takes nothing from the others.
    watches.resize(1);
    told_.clear();
    write("g");
    expect(*watches.front(), {"create g"});
    watches.clear();
    drive_until([] { return inotify_instances() == 0; });
    EXPECT_EQ(inotify_instances(), 0U);
}

// Directories come and go while the watches of others on the same ones end: each still sees everything.
TEST_F(FileWatchTest, NoWatchIsLostToTheEndOfAnother) {
    auto lasting = start(true);
    std::set<std::string> made;
    for (int round = 0; round < 100; ++round) {
        const std::string name = "d" + std::to_string(round);
        auto passing = start(true);
        fs::create_directories(at(name + "/sub"));
        passing.reset();
        made.insert("create " + name + "/sub/f");
        write(name + "/sub/f");
        if (round % 3 == 0) fs::rename(at(name), at("moved" + name));
    }
    auto later = start(true);
    for (int round = 1; round < 100; round += 3) {
        write("d" + std::to_string(round) + "/sub/late");
        made.insert("create d" + std::to_string(round) + "/sub/late");
    }
    for (int round = 0; round < 100; round += 3) {
        write("movedd" + std::to_string(round) + "/sub/late");
        made.erase("create d" + std::to_string(round) + "/sub/f");  // it may have moved before it was seen
        made.insert("create movedd" + std::to_string(round) + "/sub/f");
        made.insert("create movedd" + std::to_string(round) + "/sub/late");
    }
    expect(*lasting, std::vector<std::string>(made.begin(), made.end()));
    told_.clear();
    std::erase_if(made, [](const std::string& one) { return !one.ends_with("late"); });
    expect(*later, std::vector<std::string>(made.begin(), made.end()));
}

TEST_F(FileWatchTest, CatchingUpBringsWhatWasDoneBefore) {
    auto watch = start();
    for (int i = 0; i < 50; ++i) {
        write("f" + std::to_string(i));
        run(watch->catch_up(milliseconds(10'000)));
        std::vector<FileChange> changes = watch->take();
        ASSERT_FALSE(changes.empty());
        EXPECT_EQ(text(changes.front()), "create f" + std::to_string(i));
    }
}

TEST_F(FileWatchTest, WhatNobodyTakesIsBoundedAndFoundLater) {
    auto watch = start();
    const std::size_t count = FileWatch::kMaxPending + FileWatch::kMaxQueued / sizeof(inotify_event) + 10'000;
    for (std::size_t i = 0; i < count; ++i) {
        UniqueFd file(::open(at(std::to_string(i)).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        if (i % 1000 == 0) run(watch->catch_up(milliseconds(10'000)));
    }
    std::set<std::string> created;
    drive_until([&] {
        std::vector<FileChange> changes = watch->take();
        for (const FileChange& change : changes) {
            if (change.kind == ChangeKind::create) created.insert(change.name);
        }
        return created.size() == count;
    });
    EXPECT_EQ(created.size(), count);
}

TEST_F(FileWatchTest, WakingEndsAWaitOnce) {
    auto watch = start();
    watch->wake();
    EXPECT_TRUE(run(watch->wait_for(milliseconds(60'000))));
    EXPECT_FALSE(run(watch->wait_for(milliseconds(1))));
}

}  // namespace
}  // namespace sandbox
