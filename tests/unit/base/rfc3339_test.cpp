#include "base/rfc3339.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace sandbox {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

TEST(Rfc3339, Format) {
    EXPECT_EQ(format_rfc3339(0), "1970-01-01T00:00:00Z");
    EXPECT_EQ(format_rfc3339(1'795'220'943 * kSecond + 500'000'000), "2026-11-21T00:29:03.5Z");
    EXPECT_EQ(format_rfc3339(1), "1970-01-01T00:00:00.000000001Z");
    EXPECT_EQ(format_rfc3339(123'456'000), "1970-01-01T00:00:00.123456Z");
    EXPECT_EQ(format_rfc3339(-1), "1969-12-31T23:59:59.999999999Z");
    EXPECT_EQ(format_rfc3339(951'782'400 * kSecond), "2000-02-29T00:00:00Z");
    EXPECT_EQ(format_rfc3339(std::numeric_limits<std::int64_t>::min()), "1677-09-21T00:12:43.145224192Z");
    EXPECT_EQ(format_rfc3339(std::numeric_limits<std::int64_t>::max()), "2262-04-11T23:47:16.854775807Z");
}

TEST(Rfc3339, Parse) {
    EXPECT_EQ(parse_rfc3339("1970-01-01T00:00:00Z"), 0);
    EXPECT_EQ(parse_rfc3339("2026-11-21T00:29:03.500Z"), 1'795'220'943 * kSecond + 500'000'000);
    EXPECT_EQ(parse_rfc3339("2026-11-21T02:29:03+02:00"), 1'795'220'943 * kSecond);
    EXPECT_EQ(parse_rfc3339("2026-11-20T18:59:03-05:30"), 1'795'220'943 * kSecond);
    EXPECT_EQ(parse_rfc3339("1970-01-01t00:00:00.1234567899z"), 123'456'789);
    EXPECT_EQ(parse_rfc3339("1969-12-31T23:59:59.999999999Z"), -1);
}

TEST(Rfc3339, Refused) {
    for (const std::string_view text :
         {"", "2026-11-21", "2026-11-21T00:29:03", "2026-11-21 00:29:03Z", "2026-13-21T00:29:03Z",
          "2026-02-29T00:00:00Z", "2026-11-21T24:00:00Z", "2026-11-21T23:60:00Z", "2026-11-21T23:59:60Z",
          "2026-11-21T00:29:03.Z", "2026-11-21T00:29:03Zx", "2026-11-21T00:29:03+0200",
          "2026-11-21T00:29:03+24:00", "+026-11-21T00:29:03Z", "2026-1-21T00:29:03Z",
          "1677-09-21T00:12:43.145224191Z", "2262-04-11T23:47:16.854775808Z", "0001-01-01T00:00:00Z",
          "9999-12-31T23:59:59Z"}) {
        EXPECT_EQ(parse_rfc3339(text), std::nullopt) << text;
    }
}

TEST(Rfc3339, ReadsBackWhatItWrote) {
    std::mt19937_64 random(11);
    for (int i = 0; i < 5000; ++i) {
        const auto ns = static_cast<std::int64_t>(random());
        EXPECT_EQ(parse_rfc3339(format_rfc3339(ns)), ns);
    }
    EXPECT_EQ(parse_rfc3339(format_rfc3339(std::numeric_limits<std::int64_t>::min())),
              std::numeric_limits<std::int64_t>::min());
    EXPECT_EQ(parse_rfc3339(format_rfc3339(std::numeric_limits<std::int64_t>::max())),
              std::numeric_limits<std::int64_t>::max());
}

TEST(HttpDate, FormatAndParse) {
    EXPECT_EQ(format_http_date(1'795'220'943), "Sat, 21 Nov 2026 00:29:03 GMT");
    EXPECT_EQ(format_http_date(784'111'777), "Sun, 06 Nov 1994 08:49:37 GMT");  // the RFC's example
    EXPECT_EQ(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), 784'111'777);
    for (std::int64_t t = -4'000'000'000; t < 8'000'000'000; t += 86'400 * 13 + 3'661) {
        EXPECT_EQ(parse_http_date(format_http_date(t)), t);
    }
}

TEST(HttpDate, Refused) {
    for (const std::string_view text :
         {"", "Mon, 06 Nov 1994 08:49:37 GMT", "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37",
          "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37 UTC",
          "sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT "}) {
        EXPECT_EQ(parse_http_date(text), std::nullopt) << text;
    }
}

}  // namespace
}  // namespace sandbox
