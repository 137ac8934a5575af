#include "base/secret.hpp"

#include <gtest/gtest.h>

#include <regex>
#include <set>

#include "base/uuid.hpp"

namespace sandbox {
namespace {

std::string hex(const Digest& digest) {
    std::string text;
    for (const unsigned char byte : digest) {
        text += "0123456789abcdef"[byte >> 4];
        text += "0123456789abcdef"[byte & 0xF];
    }
    return text;
}

TEST(Sha256, KnownDigests) {  // FIPS 180-2, appendix B
    EXPECT_EQ(hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(hex(sha256(std::string_view())), hex(sha256("")));
}

TEST(Secret, Comparison) {
    const Digest a = sha256("a");
    EXPECT_TRUE(equal_constant_time(a, sha256("a")));
    for (std::size_t i = 0; i < a.size(); ++i) {
        Digest b = a;
        b[i] = static_cast<unsigned char>(b[i] ^ 1);
        EXPECT_FALSE(equal_constant_time(a, b));
    }
}

TEST(Secret, WipeClearsTheWholeBuffer) {
    std::string text(100, 's');
    const char* buffer = text.data();
    const std::size_t capacity = text.capacity();
    text.resize(40);  // the rest of the secret still stands behind the end
    wipe(text);
    EXPECT_TRUE(text.empty());
    ASSERT_EQ(text.data(), buffer);
    ASSERT_EQ(text.capacity(), capacity);
    // The buffer is still the string's own, and initialised behind its end too.
    EXPECT_EQ(std::string_view(buffer, capacity).find('s'), std::string_view::npos);
    std::string small = "tiny";
    wipe(small);
    EXPECT_TRUE(small.empty());
    EXPECT_EQ(small.data()[1], '\0');
}

TEST(Uuid, Version4Form) {
    const std::regex form("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}");
    std::set<std::string> seen;
    for (int i = 0; i < 500; ++i) {
        const std::string id = uuid_v4();
        EXPECT_TRUE(std::regex_match(id, form)) << id;
        EXPECT_TRUE(seen.insert(id).second);
    }
}

}  // namespace
}  // namespace sandbox
