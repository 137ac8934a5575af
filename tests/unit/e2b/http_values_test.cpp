#include "e2b/http_values.hpp"

#include <gtest/gtest.h>

namespace sandbox::e2b {
namespace {

TEST(HttpValuesTest, Dispositions) {
    EXPECT_EQ(inline_disposition("a.txt"), "inline; filename=a.txt");
    EXPECT_EQ(inline_disposition("a b\"c\\d"), "inline; filename=\"a b\\\"c\\\\d\"");
    EXPECT_EQ(inline_disposition("ü.txt"), "inline; filename*=utf-8''%C3%BC.txt");
    EXPECT_EQ(inline_disposition("a\r\nb"), "inline; filename*=utf-8''a%0D%0Ab");
}

TEST(HttpValuesTest, ContentTypes) {
    EXPECT_EQ(guess_content_type("x.JSON", ""), "application/json");
    EXPECT_EQ(guess_content_type("x", "text\n"), "text/plain; charset=utf-8");
    EXPECT_EQ(guess_content_type("x", ""), "text/plain; charset=utf-8");
    EXPECT_EQ(guess_content_type("x.bin", std::string_view("\0", 1)), "application/octet-stream");
    EXPECT_EQ(guess_content_type("x", "\xC3"), "text/plain; charset=utf-8");
    EXPECT_EQ(guess_content_type("x", "\xFF"), "application/octet-stream");
}

TEST(HttpValuesTest, AcceptedEncodings) {
    auto accepts = [](const char* header, std::string_view coding) {
        std::string text(header);
        return accepts_encoding(&text, coding);
    };
    EXPECT_TRUE(accepts_encoding(nullptr, "identity"));
    EXPECT_TRUE(accepts("gzip, deflate", "identity"));
    EXPECT_TRUE(accepts("gzip, deflate", "gzip"));
    EXPECT_FALSE(accepts("deflate", "gzip"));
    EXPECT_FALSE(accepts("identity;q=0", "identity"));
    EXPECT_FALSE(accepts("gzip, *;q=0.0", "identity"));
    EXPECT_TRUE(accepts("identity;q=0.1, *;q=0", "identity"));
    EXPECT_TRUE(accepts("", "identity"));
}

TEST(HttpValuesTest, Ranges) {
    auto parse = [](std::string_view header) { return parse_range(header, 10); };
    auto is = [&](std::string_view header, std::uint64_t first, std::uint64_t length) {
        auto [kind, range] = parse(header);
        return kind == RangeKind::satisfiable && range.first == first && range.length == length;
    };
    EXPECT_TRUE(is("bytes=0-0", 0, 1));
    EXPECT_TRUE(is("bytes=3-", 3, 7));
    EXPECT_TRUE(is("bytes=-3", 7, 3));
    EXPECT_TRUE(is("bytes=-30", 0, 10));
    EXPECT_TRUE(is("bytes=9-18446744073709551615", 9, 1));
    EXPECT_EQ(parse("bytes=10-").first, RangeKind::unsatisfiable);
    EXPECT_EQ(parse("bytes=-0").first, RangeKind::unsatisfiable);
    EXPECT_EQ(parse_range("bytes=0-", 0).first, RangeKind::unsatisfiable);
    for (std::string_view none : {"bytes=", "bytes=-", "bytes=2-1", "bytes=0-1,3-4", "bytes=a-b", "items=0-1",
                                  "bytes=1", "bytes=-x", "bytes=99999999999999999999-"}) {
        EXPECT_EQ(parse(none).first, RangeKind::none) << none;
    }
}

TEST(HttpValuesTest, CodingOfADownload) {
    auto choose = [](const std::string& header) { return choose_coding(&header); };
    EXPECT_EQ(choose_coding(nullptr), Coding::identity);
    for (const char* library : {"", "*", "gzip, deflate", "gzip, deflate, br", "identity", "br", "gzip;q=0",
                                "gzip;q=0, identity"}) {
        EXPECT_EQ(choose(library), Coding::identity) << library;
    }
    for (const char* wish : {"gzip", "GZIP", "gzip;q=0.5", "identity;q=0, gzip", "gzip, *;q=0",
                             "identity;q=0, *;q=1", "identity;q=0.000, gzip;q=0.001"}) {
        EXPECT_EQ(choose(wish), Coding::gzip) << wish;
    }
    for (const char* neither :
         {"identity;q=0", "*;q=0", "identity;q=0, gzip;q=0", "br, *;q=0", "gzip;q=0, *;q=0"}) {
        EXPECT_EQ(choose(neither), Coding::none) << neither;
    }
}

TEST(HttpValuesTest, HeaderValues) {
    HeaderValue value = parse_header_value("Multipart/Form-Data; boundary=\"a b\" ; charset=UTF-8");
    EXPECT_EQ(value.value, "multipart/form-data");
    ASSERT_NE(value.parameter("boundary"), nullptr);
    EXPECT_EQ(*value.parameter("boundary"), "a b");
    EXPECT_EQ(*value.parameter("charset"), "UTF-8");
    EXPECT_EQ(value.parameter("other"), nullptr);
    EXPECT_EQ(parse_header_value("").value, "");
    EXPECT_EQ(parse_header_value("a;").parameters.size(), 0U);
    EXPECT_EQ(*parse_header_value("a; b=\"open").parameter("b"), "open");
}

}  // namespace
}  // namespace sandbox::e2b
