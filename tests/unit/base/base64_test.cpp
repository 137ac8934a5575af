#include "base/base64.hpp"

#include <gtest/gtest.h>

#include "unit/base/feed_ways.hpp"

namespace sandbox {
namespace {

using test::for_every_way;
using test::Pieces;

std::string decoded(std::string_view text) {
    const auto bytes = base64_decode(text);
    return bytes ? *bytes : "error: " + bytes.error().message;
}

// RFC 4648, section 10.
TEST(Base64, TestVectors) {
    const std::vector<std::pair<std::string, std::string>> vectors = {{"", ""},
                                                                      {"f", "Zg=="},
                                                                      {"fo", "Zm8="},
                                                                      {"foo", "Zm9v"},
                                                                      {"foob", "Zm9vYg=="},
                                                                      {"fooba", "Zm9vYmE="},
                                                                      {"foobar", "Zm9vYmFy"}};
    for (const auto& [bytes, text] : vectors) {
        EXPECT_EQ(base64_encode(bytes), text);
        EXPECT_EQ(decoded(text), bytes);
        EXPECT_EQ(decoded(text.substr(0, text.find('='))), bytes) << "without padding";
    }
}

TEST(Base64, BothAlphabets) {
    EXPECT_EQ(base64_encode("\xFB\xEF\xFF"), "++//");
    EXPECT_EQ(decoded("++//"), "\xFB\xEF\xFF");
    EXPECT_EQ(decoded("--__"), "\xFB\xEF\xFF");
    EXPECT_EQ(decoded("-+_/"), "\xFB\xEF\xFF");
}

TEST(Base64, Refused) {
    for (const std::string_view text :
         {"Z", "Zm9vY", "Zg=", "Zg===", "Zm8==", "=", "====", "Z===", "Zg==Zg==", "Zg=g",
          "Zm9v=", "Zm9v====", "Zm 9v", "Zm9v\n", "Zm9*", "\x80m9v", "Zg=\n="}) {
        for_every_way(text, [&](const Pieces& pieces) {
            Base64Decoder decoder;
            std::string out;
            bool ok = true;
            for (const auto piece : pieces) ok = decoder.append(out, piece) && ok;
            ok = decoder.finish(out) && ok;
            EXPECT_FALSE(ok) << text;
        });
    }
    EXPECT_EQ(decoded("Z"), "error: invalid base64");
}

TEST(Base64, ALongInvalidTextStaysInvalid) {
    std::string text = base64_encode(std::string(10'000, 'x'));
    text[5000] = '=';
    Base64Decoder decoder;
    std::string out;
    EXPECT_FALSE(decoder.append(out, text));
    EXPECT_FALSE(decoder.append(out, "Zm9v"));
    EXPECT_FALSE(decoder.finish(out));
    EXPECT_TRUE(decoder.append(out, "Zm9v")) << "finish() begins anew";
    EXPECT_TRUE(decoder.finish(out));
}

TEST(Base64, EveryByteEveryWay) {
    std::string bytes;
    for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
    for (std::size_t cut = 0; cut < 3; ++cut) {
        const std::string text = base64_encode(bytes);
        for_every_way(bytes, [&](const Pieces& pieces) {
            Base64Encoder encoder;
            std::string out;
            for (const auto piece : pieces) encoder.append(out, piece);
            encoder.finish(out);
            EXPECT_EQ(out, text);
        });
        for_every_way(text, [&](const Pieces& pieces) {
            Base64Decoder decoder;
            std::string out;
            for (const auto piece : pieces) EXPECT_TRUE(decoder.append(out, piece));
            EXPECT_TRUE(decoder.finish(out));
            EXPECT_EQ(out, bytes);
        });
        bytes.pop_back();
    }
}

TEST(Base64, SizesAroundTheBlock) {
    std::mt19937 random(5);
    for (std::size_t size = 1530; size < 1545; ++size) {
        std::string bytes(size, '\0');
        for (char& c : bytes) c = static_cast<char>(random());
        EXPECT_EQ(decoded(base64_encode(bytes)), bytes);
    }
}

}  // namespace
}  // namespace sandbox
