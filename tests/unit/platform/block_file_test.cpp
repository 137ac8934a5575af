#include "platform/block_file.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "support/run_task.hpp"
#include "support/tiny_disk.hpp"

namespace sandbox {
namespace {

using test::run_task;

struct Stored {
    BlockFile::Blocks blocks;
    std::string bytes;
};

class BlockFileTest : public testing::Test {
  protected:
    BlockFile make(SpillDir& dir, std::size_t keep_free) {
        BlockFile::Options options;
        options.block_size = 4096;
        options.keep_free = keep_free;
        options.retry = std::chrono::milliseconds(0);
        return BlockFile(loop_, pool_, dir, options);
    }
    // False when there is no room.
    bool store(BlockFile& file, std::vector<Stored>& all, std::string bytes) {
        Stored stored{file.allocate(bytes.size()), std::move(bytes)};
        if (stored.blocks.empty()) return false;
        std::vector<BlockFile::Piece> pieces;
        pieces.push_back({&stored.blocks, stored.bytes});
        if (!run_task(loop_, file.write(std::move(pieces)))) return false;
        all.push_back(std::move(stored));
        return true;
    }
    void check(BlockFile& file, const Stored& stored) {
        std::string out(stored.bytes.size(), '?');
        ASSERT_TRUE(run_task(loop_, file.read(stored.blocks, out)));
        ASSERT_TRUE(out == stored.bytes);
    }

    Loop loop_{1};
    BlockingPool pool_{loop_, "test", 1, 2};
    SpillDir dir_{"", ""};
};

TEST_F(BlockFileTest, KeepsEveryOwnersBytesApart) {
    BlockFile file = make(dir_, 100'000);
    std::vector<Stored> all;
    std::mt19937 random(3);
    for (int step = 0; step < 500; ++step) {
        if (all.size() < 20 || random() % 2 == 0) {
            std::string bytes(random() % 40'000 + 1, '\0');
            for (char& byte : bytes) byte = static_cast<char>(random());
            ASSERT_TRUE(store(file, all, std::move(bytes)));
        } else {
            std::swap(all[random() % all.size()], all.back());
            all.pop_back();
        }
        if (step % 50 == 0) {
            for (const Stored& stored : all) check(file, stored);
        }
    }
    for (const Stored& stored : all) check(file, stored);
    std::size_t used = 0;
    for (const Stored& stored : all) used += (stored.bytes.size() + 4095) / 4096 * 4096;
    EXPECT_EQ(file.used_bytes(), used);
    all.clear();
    EXPECT_EQ(file.used_bytes(), 0U);
}

TEST_F(BlockFileTest, FreedSpaceIsUsedAgainAndThenGivenBack) {
    BlockFile file = make(dir_, 64 * 4096);
    std::vector<Stored> all;
    for (int i = 0; i < 64; ++i) ASSERT_TRUE(store(file, all, std::string(4096, 'a')));
    all.clear();
    EXPECT_EQ(file.reusable_bytes(), 64U * 4096);
    for (int i = 0; i < 64; ++i) ASSERT_TRUE(store(file, all, std::string(4096, 'b')));
    EXPECT_EQ(file.disk_bytes(), 64U * 4096);
    for (int i = 0; i < 64; ++i) ASSERT_TRUE(store(file, all, std::string(4096, 'c')));
    all.clear();
    test::run_loop(loop_);
    EXPECT_LE(file.disk_bytes(), 65U * 4096);
    for (int i = 0; i < 128; ++i) ASSERT_TRUE(store(file, all, std::string(4096, static_cast<char>(i))));
    for (const Stored& stored : all) check(file, stored);
}

TEST_F(BlockFileTest, AFullDiskRefusesAndWhatIsThereIsUsedAgain) {
    std::optional<SpillDir> dir;
    test::TinyDisk disk(32 * 4096, [&](const std::string& path) { dir.emplace(path, ""); });
    if (!disk.available()) GTEST_SKIP() << disk.why_not();
    BlockFile::Options options;
    options.retry = std::chrono::hours(1);
    BlockFile file(loop_, pool_, *dir, options);
    std::vector<Stored> all;
    while (store(file, all, std::string(4 * 4096, static_cast<char>('a' + all.size())))) continue;
    EXPECT_GE(all.size(), 4U);
    EXPECT_LE(all.size(), 8U);
    EXPECT_FALSE(file.may_grow());
    EXPECT_TRUE(file.allocate(1).empty());
    all.erase(all.begin());
    EXPECT_TRUE(file.allocate(5 * 4096).empty());
    EXPECT_TRUE(store(file, all, std::string(4 * 4096, 'z')));
    EXPECT_TRUE(file.allocate(1).empty());
    for (const Stored& stored : all) check(file, stored);
}

TEST_F(BlockFileTest, BlocksMayOutliveTheFile) {
    std::vector<Stored> all;
    {
        BlockFile file = make(dir_, 0);
        ASSERT_TRUE(store(file, all, "x"));
    }
    all.clear();
    test::run_loop(loop_);
}

}  // namespace
}  // namespace sandbox
