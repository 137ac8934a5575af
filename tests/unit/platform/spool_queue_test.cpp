#include "platform/spool_queue.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <iterator>
#include <memory>

#include "support/numbered_words.hpp"
#include "support/run_task.hpp"

namespace sandbox {
namespace {

using test::run_task;

class SpoolQueueTest : public testing::Test {
  protected:
    void append(SpoolQueue& queue, std::string_view bytes) {
        EXPECT_TRUE(run_task(loop_, queue.append(bytes)));
    }
    std::string take(SpoolQueue& queue, std::size_t most) {
        std::string out(most, '?');
        auto count = run_task(loop_, queue.take(out));
        EXPECT_TRUE(count) << count.error().message;
        out.resize(count ? *count : 0);
        return out;
    }
    std::string lines(std::size_t count) { return numbers_.next(count); }

    Loop loop_{1};
    BlockingPool pool_{loop_, "test", 1, 4};
    SpillDir dir_{"", ""};
    test::NumberedWords numbers_{'\n'};
};

TEST_F(SpoolQueueTest, WhatIsTakenInTimePassesThroughMemory) {
    SpoolQueue queue(pool_, dir_, 4000);
    EXPECT_EQ(take(queue, 10), "");
    for (int i = 0; i < 1000; ++i) {
        std::string text = lines(90);
        append(queue, text);
        EXPECT_EQ(queue.size(), 900U);
        std::string first = take(queue, 400);
        EXPECT_EQ(first + take(queue, 600), text);
        EXPECT_EQ(queue.size(), 0U);
    }
}

TEST_F(SpoolQueueTest, WhenAllIsTakenNoFileIsHeld) {
    const auto open_files = [] {
        const std::filesystem::directory_iterator entries("/proc/self/fd");
        return std::distance(begin(entries), end(entries));
    };
    append(*std::make_unique<SpoolQueue>(pool_, dir_, 0),
           lines(200'000));  // The loop opens some at first use.
    const auto before = open_files();
    SpoolQueue queue(pool_, dir_, 40'000);
    append(queue, lines(200'000));
    EXPECT_EQ(open_files(), before + 1);
    while (!take(queue, 100'000).empty()) {
    }
    EXPECT_EQ(queue.size(), 0U);
    EXPECT_EQ(open_files(), before);
    append(queue, "more");
    EXPECT_EQ(take(queue, 100), "more");
}

TEST_F(SpoolQueueTest, AReaderThatFallsBehindAndCatchesUpMissesNothing) {
    SpoolQueue queue(pool_, dir_, 40'000);
    std::string all;
    std::string taken;
    for (std::size_t round = 0; round < 40; ++round) {
        std::string text = lines(round % 10 < 5 ? 4000 : 100);  // Five rounds far beyond the memory.
        append(queue, text);
        all += text;
        taken += take(queue, round % 10 < 5 ? 7'777 : 100'000);
        EXPECT_EQ(queue.size(), all.size() - taken.size());
    }
    for (std::string more = "?"; !more.empty();) taken += more = take(queue, 50'000);
    EXPECT_EQ(taken, all);
}

TEST_F(SpoolQueueTest, WithoutAnyMemory) {
    SpoolQueue queue(pool_, dir_, 0);
    std::string all;
    for (int i = 0; i < 5; ++i) {
        std::string text = lines(50'000);
        append(queue, text);
        all += text;
    }
    std::string taken;
    for (std::string more = "?"; !more.empty();) taken += more = take(queue, 1 << 20);
    EXPECT_EQ(taken, all);
}

}  // namespace
}  // namespace sandbox
