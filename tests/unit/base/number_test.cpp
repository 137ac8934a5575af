#include "base/number.hpp"

#include <gtest/gtest.h>

#include <cstdint>

#include "base/trim.hpp"

namespace sandbox {
namespace {

TEST(ParseNumber, TakesAllOfTheText) {
    EXPECT_EQ(parse_number<int>("-17"), -17);
    EXPECT_EQ(parse_number<std::uint64_t>("18446744073709551615"), UINT64_MAX);
    EXPECT_EQ(parse_number<unsigned>("0644", 8), 0644U);
    EXPECT_EQ(parse_number<double>("1.5e3"), 1500.0);
    for (const char* text : {"", " 1", "1 ", "+1", "1x", "0x1", "-", "."}) {
        EXPECT_FALSE(parse_number<int>(text)) << text;
        EXPECT_FALSE(parse_number<double>(text)) << text;
    }
    EXPECT_FALSE(parse_number<int>("1.5"));
}

TEST(ParseNumber, IsNothingWhereItDoesNotFit) {
    EXPECT_EQ(parse_number<std::uint16_t>("65535"), 65535);
    EXPECT_FALSE(parse_number<std::uint16_t>("65536"));
    EXPECT_FALSE(parse_number<std::uint16_t>("-1"));
    EXPECT_FALSE(parse_number<std::uint64_t>("18446744073709551616"));
    EXPECT_FALSE(parse_number<double>("1e999"));
}

TEST(Trimmed, WhiteSpaceAtTheEndsOnly) {
    EXPECT_EQ(trimmed(" \t\r\n\v\fa b\n "), "a b");
    EXPECT_EQ(trimmed("a"), "a");
    EXPECT_EQ(trimmed(" \n"), "");
    EXPECT_EQ(trimmed(""), "");
}

}  // namespace
}  // namespace sandbox
