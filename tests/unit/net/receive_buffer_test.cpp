#include "net/receive_buffer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

using sandbox::net::ReceiveBuffer;

namespace {

void put(ReceiveBuffer& buffer, std::string_view text, std::size_t room = 0) {
    const std::span<char> place = buffer.room(std::max(room, text.size()));
    ASSERT_EQ(place.size(), std::max(room, text.size()));
    std::copy(text.begin(), text.end(), place.begin());
    buffer.commit(text.size());
}

TEST(ReceiveBuffer, GivesBackWhatWasCommittedInOrder) {
    ReceiveBuffer buffer;
    EXPECT_TRUE(buffer.empty());
    EXPECT_EQ(buffer.bytes(), "");
    put(buffer, "hello ", 2048);
    put(buffer, "world", 2048);
    EXPECT_EQ(buffer.bytes(), "hello world");
    buffer.consume(6);
    EXPECT_EQ(buffer.bytes(), "world");
    EXPECT_EQ(buffer.size(), 5U);
}

TEST(ReceiveBuffer, KeepsWhatIsLeftWhenItGrowsOrMovesUp) {
    ReceiveBuffer buffer;
    std::string expected;
    for (int round = 0; round < 3000; ++round) {
        const std::string piece(static_cast<std::size_t>(round % 97), static_cast<char>('a' + round % 26));
        put(buffer, piece, static_cast<std::size_t>(1 + round % 4096));
        expected += piece;
        const std::size_t used = std::min<std::size_t>(expected.size(), static_cast<std::size_t>(round % 83));
        buffer.consume(used);
        expected.erase(0, used);
        ASSERT_EQ(buffer.bytes(), expected);
    }
}

TEST(ReceiveBuffer, BeginsAnewInTheSamePlaceWhenEmpty) {
    ReceiveBuffer buffer;
    put(buffer, "first", 100);
    const char* place = buffer.bytes().data();
    buffer.consume(5);
    put(buffer, "second", 100);
    EXPECT_EQ(buffer.bytes().data(), place);
    EXPECT_EQ(buffer.bytes(), "second");
}

TEST(ReceiveBuffer, WipesASecret) {
    ReceiveBuffer buffer;
    put(buffer, "secret rest");
    const char* place = buffer.bytes().data();
    buffer.wipe(7);
    EXPECT_EQ(buffer.bytes(), "rest");
    EXPECT_TRUE(std::all_of(place, place + 7, [](char c) { return c == '\0'; }));
}

TEST(ReceiveBuffer, ReleaseForgetsAll) {
    ReceiveBuffer buffer;
    put(buffer, "something");
    buffer.release();
    EXPECT_TRUE(buffer.empty());
    put(buffer, "else");
    EXPECT_EQ(buffer.bytes(), "else");
}

}  // namespace
