#include "e2b/envelope.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace sandbox::e2b {
namespace {

using namespace std::string_literals;

std::vector<Envelope> read_all(EnvelopeReader& reader) {
    std::vector<Envelope> found;
    for (;;) {
        Result<std::optional<Envelope>> next = reader.next();
        EXPECT_TRUE(next);
        if (!next || !*next) return found;
        found.push_back(std::move(**next));
    }
}

TEST(EnvelopeTest, TheExampleOfTheProtocol) {
    std::string out;
    append_envelope(out, kMessageFlags, R"({"event":{"start":{"pid":4242}}})");
    EXPECT_EQ(out, "\0\0\0\0\x20"s + R"({"event":{"start":{"pid":4242}}})");
    out.clear();
    append_envelope(out, kEndStreamFlag, "{}");
    EXPECT_EQ(out, "\2\0\0\0\2{}"s);
}

TEST(EnvelopeTest, LengthsInBigEndian) {
    std::string out;
    append_envelope_head(out, kMessageFlags, 0x01020304);
    EXPECT_EQ(out, "\0\1\2\3\4"s);
}

TEST(EnvelopeTest, AnyCutGivesTheSameEnvelopes) {
    std::string stream;
    append_envelope(stream, kMessageFlags, "first");
    append_envelope(stream, kMessageFlags, "");
    append_envelope(stream, kEndStreamFlag, "{}");
    for (std::size_t first = 0; first <= stream.size(); ++first) {
        for (std::size_t second = first; second <= stream.size(); ++second) {
            EnvelopeReader reader(16);
            std::vector<Envelope> found;
            for (std::string_view piece : {std::string_view(stream).substr(0, first),
                                           std::string_view(stream).substr(first, second - first),
                                           std::string_view(stream).substr(second)}) {
                reader.feed(piece);
                for (Envelope& envelope : read_all(reader)) found.push_back(std::move(envelope));
            }
            ASSERT_EQ(found.size(), 3U);
            EXPECT_EQ(found[0].payload, "first");
            EXPECT_EQ(found[1].payload, "");
            EXPECT_EQ(found[2].flags, kEndStreamFlag);
            EXPECT_TRUE(reader.at_boundary());
        }
    }
}

TEST(EnvelopeTest, TooLargeIsToldByTheHeadAlone) {
    EnvelopeReader reader(4);
    reader.feed("\0\0\0\0\4abcd\0\0\0\0\5"s);
    Result<std::optional<Envelope>> first = reader.next();
    ASSERT_TRUE(first && *first);
    EXPECT_EQ((*first)->payload, "abcd");
    EXPECT_EQ(reader.next().error().code, Errc::too_large);
    EXPECT_FALSE(reader.at_boundary());
}

}  // namespace
}  // namespace sandbox::e2b
