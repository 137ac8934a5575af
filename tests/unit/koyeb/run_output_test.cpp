#include "koyeb/run_output.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "base/base64.hpp"
#include "support/numbered_words.hpp"
#include "support/run_task.hpp"

namespace sandbox::koyeb {
namespace {

using test::run_task;

constexpr std::size_t kMemory = 64 * 1024;

class RunOutputTest : public testing::Test {
  protected:
    RunOutput output(bool base64 = false, std::string_view prefix = "") {
        return RunOutput(pool_, dir_, kMemory, base64, prefix);
    }
    void append(RunOutput& output, std::string_view bytes) {
        EXPECT_TRUE(run_task(loop_, output.append(bytes)));
    }
    std::size_t pull(RunOutput& output) {
        Result<std::size_t> count = run_task(loop_, output.pull());
        EXPECT_TRUE(count) << count.error().message;
        return count ? *count : 0;
    }
    static std::string taken(RunOutput& output) { return std::exchange(output.text(), {}); }
    // What a reader gets who reads to the end.
    std::string rest(RunOutput& output) {
        std::string all = taken(output);
        while (output.behind()) {
            EXPECT_GT(pull(output), 0U);
            all += taken(output);
        }
        output.finish();
        return all + taken(output);
    }
    std::string words(std::size_t count) { return numbers_.next(count); }

    Loop loop_{1};
    BlockingPool pool_{loop_, "test", 1, 4};
    SpillDir dir_{"", ""};
    test::NumberedWords numbers_{'|'};  // that need no escape
};

TEST_F(RunOutputTest, LittleIsEncodedAtOnceBehindThePrefix) {
    RunOutput out = output(false, "{\"stdout\":\"");
    append(out, "a \"word\"\n");
    EXPECT_FALSE(out.behind());
    EXPECT_FALSE(out.piece_ready());
    EXPECT_EQ(out.appended(), 9U);
    EXPECT_EQ(rest(out), "{\"stdout\":\"a \\\"word\\\"\\n");
}

TEST_F(RunOutputTest, MoreThanAPieceWaitsForItsReader) {
    RunOutput out = output();
    const std::string first = words(RunOutput::kPiece / 10 + 1);
    append(out, first);
    EXPECT_TRUE(out.piece_ready());
    EXPECT_FALSE(out.behind());
    const std::string second = words(100'000);  // Far beyond the memory.
    append(out, second);
    EXPECT_TRUE(out.behind());
    EXPECT_EQ(taken(out), first);
    // There is room in the text now, but older bytes lie in the queue.
    const std::string third = words(10);
    append(out, third);
    EXPECT_EQ(rest(out), second + third);
}

TEST_F(RunOutputTest, AReaderThatCatchesUpIsServedWithoutTheQueueAgain) {
    RunOutput out = output();
    std::string all;
    std::string got;
    for (std::size_t round = 0; round < 30; ++round) {
        for (std::size_t i = 0; i < (round % 3 == 0 ? 40 : 1); ++i) {
            const std::string text = words(3000);
            append(out, text);
            all += text;
        }
        got += taken(out);
        while (out.behind()) {
            EXPECT_LE(pull(out), RunOutput::kPiece);
            got += taken(out);
        }
    }
    EXPECT_EQ(got + rest(out), all);
    append(out, "x");
    EXPECT_FALSE(out.behind());
}

TEST_F(RunOutputTest, WhatComesDuringAPullComesBehindIt) {
    RunOutput out = output();
    const std::string first = words(RunOutput::kPiece / 10 + 1);
    const std::string second = words(100'000);
    append(out, first);
    append(out, second);  // In the file for the most part: a pull of it takes its time.
    std::string got = taken(out);
    while (pull(out) == RunOutput::kPiece && got.size() < first.size() + 3 * kMemory) got += taken(out);
    got += taken(out);
    std::optional<Result<std::size_t>> pulled;
    std::optional<Result<>> appended;
    const std::string third = words(10);
    spawn_task(loop_, "pull", test::keep_result(out.pull(), &pulled));
    spawn_task(loop_, "append", test::keep_result(out.append(third), &appended));
    test::run_loop(loop_);
    ASSERT_TRUE(pulled && *pulled && appended && *appended);
    EXPECT_EQ(got + rest(out), first + second + third);
}

TEST_F(RunOutputTest, ACharacterThatIsSplitBetweenTextAndQueueStaysWhole) {
    RunOutput out = output();
    const std::string first(RunOutput::kPiece, 'a');
    append(out, first + "\xE2\x82");
    append(out, "\xAC");
    EXPECT_TRUE(out.behind());
    EXPECT_EQ(rest(out), first + "\xE2\x82\xAC");
}

TEST_F(RunOutputTest, ACharacterThatNeverEndsIsReplacedAtTheEnd) {
    RunOutput out = output();
    append(out, "a\xE2\x82");
    EXPECT_EQ(rest(out), "a\\ufffd\\ufffd");
}

TEST_F(RunOutputTest, Base64IsOneTextOverAllItsPieces) {
    RunOutput out = output(true);
    std::string all;
    for (std::size_t size : {1U, 100'001U, 70'000U, 500'000U, 2U}) {
        std::string bytes(size, static_cast<char>('a' + size % 7));
        append(out, bytes);
        all += bytes;
    }
    std::string expected;
    append_base64(expected, all);
    EXPECT_EQ(rest(out), expected);
}

}  // namespace
}  // namespace sandbox::koyeb
