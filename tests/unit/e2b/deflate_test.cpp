#include "e2b/deflate.hpp"

#include <gtest/gtest.h>

#include "e2b/inflate.hpp"

namespace sandbox::e2b {
namespace {

std::string encode(std::string_view content, std::size_t step) {
    GzipEncoder encoder;
    std::string all;
    std::string piece;
    for (; !content.empty(); content.remove_prefix(std::min(step, content.size()))) {
        encoder.encode(content.substr(0, step), piece);
        all += piece;
    }
    encoder.finish(piece);
    return all + piece;
}

std::string decode(std::string_view bytes) {
    GzipDecoder decoder;
    decoder.feed(bytes);
    std::string all;
    std::string piece;
    do {
        EXPECT_TRUE(decoder.next(piece));
        all += piece;
    } while (!piece.empty());
    EXPECT_TRUE(decoder.complete());
    return all;
}

TEST(DeflateTest, ComesBackFromAnyPieces) {
    std::string noise;
    std::uint32_t state = 1;
    for (int i = 0; i < 300'000; ++i)
        noise += static_cast<char>((state = state * 1664525U + 1013904223U) >> 24U);
    for (const std::string& content : {std::string(), std::string("x"), std::string(1'000'000, 'a'), noise}) {
        for (std::size_t step : {std::size_t{1000}, std::size_t{65536}, std::size_t{2'000'000}}) {
            EXPECT_EQ(decode(encode(content, step)), content) << content.size() << " in " << step;
        }
    }
}

TEST(DeflateTest, Compresses) { EXPECT_LT(encode(std::string(1'000'000, 'a'), 65536).size(), 10'000U); }

}  // namespace
}  // namespace sandbox::e2b
