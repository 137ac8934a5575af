#include "e2b/inflate.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

namespace sandbox::e2b {
namespace {

std::string gzip(const std::string& content) {
    z_stream stream{};
    EXPECT_EQ(::deflateInit2(&stream, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    std::string out(::deflateBound(&stream, static_cast<uLong>(content.size())), '\0');
    std::string copy = content;
    stream.next_in = reinterpret_cast<Bytef*>(copy.data());
    stream.avail_in = static_cast<uInt>(copy.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    EXPECT_EQ(::deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.resize(out.size() - stream.avail_out);
    ::deflateEnd(&stream);
    return out;
}

struct Decoded {
    std::string content;
    bool failed = false;
    bool complete = false;
};

Decoded decode(std::string_view bytes, std::size_t step) {
    GzipDecoder decoder;
    Decoded decoded;
    std::string piece;
    while (!bytes.empty()) {
        decoder.feed(bytes.substr(0, step));
        bytes.remove_prefix(std::min(step, bytes.size()));
        do {
            if (!decoder.next(piece)) {
                decoded.failed = true;
                return decoded;
            }
            EXPECT_LE(piece.size(), 64U * 1024U);
            decoded.content += piece;
        } while (!piece.empty());
    }
    decoded.complete = decoder.complete();
    return decoded;
}

TEST(InflateTest, ContentInAnyPieces) {
    std::string content;
    for (int i = 0; i < 20'000; ++i) content += "line " + std::to_string(i) + "\n";
    const std::string bytes = gzip(content);
    for (std::size_t step : {std::size_t{1}, std::size_t{7}, std::size_t{1000}, bytes.size()}) {
        Decoded decoded = decode(bytes, step);
        EXPECT_EQ(decoded.content, content);
        EXPECT_TRUE(decoded.complete);
    }
}

TEST(InflateTest, SeveralMembersAreOneContent) {
    Decoded decoded = decode(gzip("one ") + gzip("") + gzip("two"), 5);
    EXPECT_EQ(decoded.content, "one two");
    EXPECT_TRUE(decoded.complete);
}

TEST(InflateTest, WhatIsNoGzipOrNotWhole) {
    EXPECT_TRUE(decode("plain text", 100).failed);
    const std::string bytes = gzip("some content");
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        EXPECT_FALSE(decode(std::string_view(bytes).substr(0, size), 3).complete) << size;
    }
    EXPECT_TRUE(decode(bytes + "trailing bytes", 3).failed);
    std::string broken = bytes;
    broken[broken.size() - 6] = static_cast<char>(broken[broken.size() - 6] ^ 1);  // of the checksum
    EXPECT_TRUE(decode(broken, 100).failed);
}

TEST(InflateTest, ASmallBodyMayGrowWithoutMemory) {
    const std::string bytes = gzip(std::string(50'000'000, 'x'));
    EXPECT_LT(bytes.size(), 100'000U);
    EXPECT_EQ(decode(bytes, bytes.size()).content.size(), 50'000'000U);
}

}  // namespace
}  // namespace sandbox::e2b
