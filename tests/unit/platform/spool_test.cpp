#include "platform/spool.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/this_coro.hpp>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "platform/event.hpp"
#include "support/run_task.hpp"
#include "support/tiny_disk.hpp"

namespace sandbox {
namespace {

using test::run_task;

constexpr std::size_t kKiB = 1024;
constexpr std::size_t kMiB = 1024 * kKiB;

// Byte i of every test's content; no two blocks of a power-of-two size are equal.
char byte_at(std::uint64_t i) { return static_cast<char>((i * 2654435761U >> 13U) ^ (i >> 7U)); }

std::string content(std::size_t offset, std::size_t size) {
    static const std::string all = [] {
        std::string bytes(20 * kMiB, '\0');
        for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = byte_at(i);
        return bytes;
    }();
    return all.substr(offset, size);
}

Task<Result<>> append_all(Spool& spool, std::string bytes, std::size_t step) {
    std::string_view rest = bytes;
    while (!rest.empty()) {
        auto result = co_await spool.append(rest.substr(0, step));
        if (!result) co_return result;
        rest.remove_prefix(std::min(step, rest.size()));
    }
    co_return Result<>();
}

// As who receives them into the spool's own memory does, with a piece from elsewhere now and then.
Task<Result<>> receive_all(Spool& spool, std::string bytes, std::size_t step) {
    std::string_view rest = bytes;
    for (int round = 0; !rest.empty(); ++round) {
        std::span<char> room = co_await spool.room();
        std::string_view piece = rest.substr(0, room.empty() ? std::min(step, 64 * kKiB) : step);
        if (round % 5 != 4 && !room.empty()) {
            piece = piece.substr(0, room.size());
            std::copy(piece.begin(), piece.end(), room.begin());
            piece = std::string_view(room.data(), piece.size());
        }
        rest.remove_prefix(piece.size());
        auto result = co_await spool.append(piece);
        if (!result) co_return result;
    }
    co_return Result<>();
}

Task<> write_all(Spool& spool, std::string bytes, bool* over) {
    auto result = co_await receive_all(spool, std::move(bytes), 64 * kKiB);
    EXPECT_TRUE(result);
    *over = true;
}

Task<> append_moved(Task<Result<>> append, bool* over) {
    auto result = co_await std::move(append);
    EXPECT_TRUE(result);
    *over = true;
}

class SpoolTest : public testing::Test {
  protected:
    std::string read(Spool& spool, std::uint64_t offset, std::size_t size) {
        std::string out(size, '?');
        auto count = run_task(loop_, spool.read(offset, out));
        EXPECT_TRUE(count) << count.error().message;
        out.resize(count ? *count : 0);
        return out;
    }

    Loop loop_{1};
    BlockingPool pool_{loop_, "test", 1, 4};
    SpillDir dir_{"", ""};
};

// More than may have large pieces, and again after those have gone.
TEST_F(SpoolTest, ManySpoolsGrowBesideEachOther) {
    constexpr std::size_t kSpools = 12;
    for (int round = 0; round < 2; ++round) {
        std::vector<std::unique_ptr<Spool>> spools;
        for (std::size_t n = 0; n < kSpools; ++n)
            spools.push_back(std::make_unique<Spool>(pool_, dir_, 64 * kKiB));
        std::array<bool, kSpools> over{};
        for (std::size_t n = 0; n < kSpools; ++n)
            spawn_task(loop_, "append", write_all(*spools[n], content(n, 5 * kMiB + n), &over[n]));
        loop_.restart();
        loop_.run();
        EXPECT_EQ(std::count(over.begin(), over.end(), true), static_cast<std::ptrdiff_t>(kSpools));
        for (std::size_t n = 0; n < kSpools; ++n) {
            EXPECT_EQ(spools[n]->size(), 5 * kMiB + n);
            EXPECT_TRUE(read(*spools[n], 0, 6 * kMiB) == content(n, 5 * kMiB + n)) << n;
        }
    }
}

TEST_F(SpoolTest, BytesCanBeReceivedIntoItsRoom) {
    for (std::size_t limit : {std::size_t{0}, 64 * kKiB}) {
        for (std::size_t step : {std::size_t{9'973}, 64 * kKiB, 256 * kKiB, 10 * kMiB}) {
            Spool spool(pool_, dir_, limit);
            EXPECT_TRUE(run_task(loop_, spool.room()).empty()) << "it is in memory";
            const std::string bytes = content(0, 5 * kMiB + 77);
            ASSERT_TRUE(run_task(loop_, receive_all(spool, bytes, step)));
            ASSERT_EQ(spool.size(), bytes.size());
            ASSERT_TRUE(read(spool, 0, bytes.size() + 10) == bytes) << limit << ' ' << step;
            EXPECT_FALSE(run_task(loop_, spool.room()).empty());
        }
    }
}

TEST_F(SpoolTest, SmallContentStaysInMemory) {
    Spool spool(pool_, dir_, 100);
    EXPECT_TRUE(spool.in_memory());
    EXPECT_TRUE(run_task(loop_, spool.append("hello ")));
    EXPECT_TRUE(run_task(loop_, spool.append("")));
    EXPECT_TRUE(run_task(loop_, spool.append("world")));
    EXPECT_TRUE(spool.in_memory());
    EXPECT_EQ(spool.size(), 11U);
    EXPECT_EQ(spool.memory(), "hello world");
    EXPECT_EQ(read(spool, 6, 100), "world");
    EXPECT_EQ(read(spool, 11, 10), "");
    EXPECT_EQ(read(spool, 5000, 10), "");
}

TEST_F(SpoolTest, TheLimitIsExact) {
    Spool spool(pool_, dir_, 10);
    EXPECT_TRUE(run_task(loop_, spool.append("0123456789")));
    EXPECT_TRUE(spool.in_memory());
    EXPECT_TRUE(run_task(loop_, spool.append("a")));
    EXPECT_FALSE(spool.in_memory());
    EXPECT_EQ(spool.memory(), "0123456789");
    EXPECT_EQ(spool.size(), 11U);
    EXPECT_EQ(read(spool, 8, 10), "89a");
}

TEST_F(SpoolTest, MemoryGrowsUpToTheLimitOnly) {
    Spool spool(pool_, dir_, 3 * kMiB);
    EXPECT_TRUE(run_task(loop_, append_all(spool, content(0, 4 * kMiB), 10'000)));
    EXPECT_EQ(spool.memory(), content(0, 3 * kMiB));
    EXPECT_EQ(read(spool, 0, 5 * kMiB), content(0, 4 * kMiB));
}

TEST_F(SpoolTest, ContentOfAnySizeInAnyStepsComesBack) {
    std::mt19937 random(7);
    for (std::size_t limit : {std::size_t{0}, std::size_t{1}, 64 * kKiB, 300 * kKiB}) {
        for (std::size_t size :
             {1 * kKiB, 256 * kKiB - 1, 256 * kKiB, 256 * kKiB + 1, 1 * kMiB, 3 * kMiB + 77}) {
            for (std::size_t step : {std::size_t{9'973}, 64 * kKiB, 256 * kKiB, 10 * kMiB}) {
                Spool spool(pool_, dir_, limit);
                std::string bytes = content(0, size);
                ASSERT_TRUE(run_task(loop_, append_all(spool, bytes, step)));
                ASSERT_EQ(spool.size(), size);
                ASSERT_EQ(spool.in_memory(), size <= limit);
                ASSERT_TRUE(read(spool, 0, size + 10) == bytes) << limit << ' ' << size << ' ' << step;
                for (int i = 0; i < 4; ++i) {
                    std::size_t from = random() % size;
                    std::size_t count = random() % (400 * kKiB) + 1;
                    ASSERT_TRUE(read(spool, from, count) == bytes.substr(from, count));
                    std::string out(count, '?');
                    auto got = spool.read_blocking(from, out);
                    ASSERT_TRUE(got);
                    out.resize(*got);
                    ASSERT_TRUE(out == bytes.substr(from, count));
                }
            }
        }
    }
}

Task<> follow(Spool& spool, const bool& over, std::uint64_t total, bool* equal) {
    auto executor = co_await boost::asio::this_coro::executor;
    std::uint64_t offset = 0;
    std::vector<char> out(100 * kKiB);
    while (offset < total && (!over || offset < spool.size())) {
        auto count = co_await spool.read(offset, out);
        if (!count) co_return;
        for (std::size_t i = 0; i < *count; ++i) {
            if (out[i] != byte_at(offset + i)) co_return;
        }
        offset += *count;
        if (*count == 0) co_await sleep_for(executor.context(), std::chrono::milliseconds(0));
    }
    *equal = offset == total;
}

TEST_F(SpoolTest, ReadersRunBesideTheWriter) {
    constexpr std::size_t kSize = 8 * kMiB;
    Spool spool(pool_, dir_, 100 * kKiB);
    bool over = false;
    std::array<bool, 2> equal{};
    std::atomic<bool> stop = false;
    std::atomic<bool> bad = false;
    std::thread other([&] {
        std::vector<char> out(50 * kKiB);
        std::uint64_t offset = 0;
        for (;;) {
            bool last = stop;  // asked before reading
            auto count = spool.read_blocking(offset, out);
            if (!count) break;
            for (std::size_t i = 0; i < *count; ++i) bad = bad || out[i] != byte_at(offset + i);
            offset += *count;
            if (last && *count == 0) break;
        }
        bad = bad || offset != kSize;
    });
    for (bool& each : equal) spawn_task(loop_, "reader", follow(spool, over, kSize, &each));
    spawn_task(loop_, "writer", write_all(spool, content(0, kSize), &over));
    test::run_loop(loop_);
    stop = true;
    other.join();
    EXPECT_TRUE(equal[0] && equal[1]);
    EXPECT_FALSE(bad);
}

TEST_F(SpoolTest, MovesAndDiesWithAWriteUnderWay) {
    std::string bytes = content(0, 600 * kKiB);
    bool over = false;
    {
        Spool first(pool_, dir_, 0);
        spawn_task(loop_, "test", append_moved(first.append(bytes), &over));
        loop_.restart();
        loop_.poll();  // Starts the append, and leaves its writes to the pool.
        Spool second(std::move(first));
        EXPECT_GT(second.size(), 0U);
    }
    test::run_loop(loop_);
    EXPECT_TRUE(over);
}

TEST_F(SpoolTest, FilesHaveNoName) {
    std::filesystem::path place =
        std::filesystem::temp_directory_path() / ("spool-test-" + std::to_string(::getpid()));
    std::filesystem::create_directory(place);
    {
        SpillDir dir(place, "");
        EXPECT_TRUE(dir.on_disk());
        Spool spool(pool_, dir, 0);
        EXPECT_TRUE(run_task(loop_, append_all(spool, content(0, kMiB), kMiB)));
        EXPECT_TRUE(std::filesystem::is_empty(place));
        auto file = dir.open_file();
        ASSERT_TRUE(file);
        struct stat info {};
        EXPECT_EQ(::fstat(file->fd.get(), &info), 0);
        EXPECT_EQ(info.st_nlink, 0U);
        EXPECT_EQ(::fcntl(file->fd.get(), F_GETFD), FD_CLOEXEC);
        // Without the directory another one has to do.
        std::filesystem::remove(place);
        Spool later(pool_, dir, 0);
        EXPECT_TRUE(run_task(loop_, append_all(later, content(0, kMiB), kMiB)));
        EXPECT_TRUE(read(later, 0, kMiB) == content(0, kMiB));
        EXPECT_TRUE(read(spool, 0, kMiB) == content(0, kMiB));
    }
}

TEST_F(SpoolTest, MemoryForFilesIsAccountedFor) {
    SpillDir dir("", "");
    EXPECT_TRUE(dir.reserve_memory(SpillDir::kMemoryBudget - 10));
    EXPECT_FALSE(dir.reserve_memory(11));
    EXPECT_TRUE(dir.reserve_memory(10));
    EXPECT_FALSE(dir.reserve_memory(1));
    dir.release_memory(SpillDir::kMemoryBudget);
    EXPECT_TRUE(dir.reserve_memory(SpillDir::kMemoryBudget));
    EXPECT_FALSE(dir.reserve_memory(~std::size_t{0}));
}

// With its root directory an empty tmpfs, a thread finds no place for a file.
TEST_F(SpoolTest, WithoutADirectoryFilesAreMemfdsWithinABudget) {
    std::optional<SpillDir> dir;
    std::optional<BlockingPool> pool;
    test::TinyDisk disk(kMiB, [&](const std::string& path) {
        ASSERT_EQ(::chroot(path.c_str()), 0);
        ASSERT_EQ(::chdir("/"), 0);
        dir.emplace("", "");
        pool.emplace(loop_, "test", 1, 1);  // its one thread has the same root
    });
    if (!disk.available()) GTEST_SKIP() << disk.why_not();
    EXPECT_FALSE(dir->on_disk());
    std::optional<Spool> first(std::in_place, *pool, *dir, 0);
    EXPECT_TRUE(run_task(loop_, append_all(*first, content(0, 20 * kMiB), kMiB)));
    EXPECT_TRUE(read(*first, 0, 20 * kMiB) == content(0, 20 * kMiB));
    Spool second(*pool, *dir, kMiB);
    auto result = run_task(loop_, append_all(second, content(0, 20 * kMiB), kMiB));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::resource_exhausted);
    // What is left of the budget, and the memory and the buffers of both.
    EXPECT_LE(second.size(), 14 * kMiB);
    EXPECT_TRUE(read(second, 0, 20 * kMiB) == content(0, second.size()));
    // What a spool held is there for the next.
    first.reset();
    Spool third(*pool, *dir, 0);
    EXPECT_TRUE(run_task(loop_, append_all(third, content(0, 15 * kMiB), kMiB)));
}

TEST_F(SpoolTest, AFullDiskEndsItAndLosesNothing) {
    std::optional<SpillDir> dir;
    test::TinyDisk disk(kMiB, [&](const std::string& path) { dir.emplace(path, ""); });
    if (!disk.available()) GTEST_SKIP() << disk.why_not();
    for (const bool received : {false, true}) {
        Spool spool(pool_, *dir, 100 * kKiB);
        std::string bytes = content(0, 4 * kMiB);
        auto result = run_task(
            loop_, received ? receive_all(spool, bytes, 64 * kKiB) : append_all(spool, bytes, 64 * kKiB));
        ASSERT_FALSE(result);
        EXPECT_EQ(result.error().code, Errc::resource_exhausted);
        EXPECT_EQ(result.error().sys_errno, ENOSPC);
        EXPECT_GE(spool.size(), 100 * kKiB + kMiB);
        EXPECT_LE(spool.size(), 100 * kKiB + kMiB + 512 * kKiB);
        EXPECT_TRUE(read(spool, 0, 4 * kMiB) == bytes.substr(0, spool.size()));
        EXPECT_TRUE(run_task(loop_, spool.room()).empty());
        auto size = spool.size();
        auto again = run_task(loop_, spool.append("more"));
        ASSERT_FALSE(again);
        EXPECT_EQ(again.error().code, Errc::resource_exhausted);
        EXPECT_EQ(spool.size(), size);
    }
    // The space is free again with the spool gone.
    Spool next(pool_, *dir, 0);
    EXPECT_TRUE(run_task(loop_, append_all(next, content(0, 900 * kKiB), 64 * kKiB)));
}

TEST_F(SpoolTest, ItsFileCanHaveAllOfTheContent) {
    for (std::size_t size : {100 * kKiB, 3 * kMiB + 17, 4 * kMiB}) {
        Spool spool(pool_, dir_, 150 * kKiB);
        ASSERT_TRUE(run_task(loop_, append_all(spool, content(0, size), 64 * kKiB)));
        EXPECT_EQ(spool.file(), -1);
        EXPECT_TRUE(run_task(loop_, spool.complete_file()));
        if (size < 150 * kKiB) {
            EXPECT_EQ(spool.file(), -1) << "it never needed one";
            continue;
        }
        std::string bytes(size + 1, '?');
        EXPECT_EQ(::pread(spool.file(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(size));
        bytes.pop_back();
        EXPECT_TRUE(bytes == content(0, size));
        EXPECT_EQ(read(spool, 0, size), content(0, size));
    }
}

}  // namespace
}  // namespace sandbox
