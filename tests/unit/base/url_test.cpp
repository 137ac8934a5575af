#include "base/url.hpp"

#include <gtest/gtest.h>

namespace sandbox {
namespace {

using namespace std::string_literals;

TEST(Url, PercentDecode) {
    EXPECT_EQ(percent_decode(""), "");
    EXPECT_EQ(percent_decode("a%20b%2Fc%2fd"), "a b/c/d");
    EXPECT_EQ(percent_decode("a+b"), "a+b");
    EXPECT_EQ(percent_decode("a+b", PlusSign::space), "a b");
    EXPECT_EQ(percent_decode("%2B", PlusSign::space), "+");
    EXPECT_EQ(percent_decode("%00%ff"), "\0\xFF"s);
    for (const std::string_view bad : {"%", "%1", "a%", "%g0", "%0g", "%%20", "%-1", "% 1"}) {
        EXPECT_EQ(percent_decode(bad), std::nullopt) << bad;
    }
}

TEST(Url, QueryTakesTheFirstValue) {
    const Query query("id=1&id=2&all=true&empty=&bare&x%20y=a+b%26&=v&&eq=a=b");
    EXPECT_EQ(query.get("id"), "1");
    EXPECT_EQ(query.get("all"), "true");
    EXPECT_EQ(query.get("empty"), "");
    EXPECT_EQ(query.get("bare"), "");
    EXPECT_EQ(query.get("x y"), "a b&");
    EXPECT_EQ(query.get(""), "v");
    EXPECT_EQ(query.get("eq"), "a=b");
    EXPECT_EQ(query.get("none"), std::nullopt);
    EXPECT_EQ(query.pairs().size(), 8u);
    EXPECT_EQ(Query("").get(""), std::nullopt);
}

TEST(Url, BadPairsAreLeftOut) {
    const Query query("a=%zz&b=1;c=2&d=3");
    EXPECT_EQ(query.get("a"), std::nullopt);
    EXPECT_EQ(query.get("b"), std::nullopt);
    EXPECT_EQ(query.get("d"), "3");
}

// The table of Go's documentation and tests of path.Clean.
TEST(Url, CleanPath) {
    const std::vector<std::pair<std::string, std::string>> table = {
        {"", "."},
        {"abc", "abc"},
        {"abc/def", "abc/def"},
        {".", "."},
        {"..", ".."},
        {"../..", "../.."},
        {"../../abc", "../../abc"},
        {"/abc", "/abc"},
        {"/", "/"},
        {"abc/", "abc"},
        {"abc/def/", "abc/def"},
        {"./", "."},
        {"../", ".."},
        {"../../", "../.."},
        {"/abc/", "/abc"},
        {"abc//def//ghi", "abc/def/ghi"},
        {"//abc", "/abc"},
        {"///abc", "/abc"},
        {"//abc//", "/abc"},
        {"abc//", "abc"},
        {"abc/./def", "abc/def"},
        {"/./abc/def", "/abc/def"},
        {"abc/.", "abc"},
        {"abc/def/ghi/../jkl", "abc/def/jkl"},
        {"abc/def/../ghi/../jkl", "abc/jkl"},
        {"abc/def/..", "abc"},
        {"abc/def/../..", "."},
        {"/abc/def/../..", "/"},
        {"abc/def/../../..", ".."},
        {"/abc/def/../../..", "/"},
        {"abc/def/../../../ghi/jkl/../../../mno", "../../mno"},
        {"abc/./../def", "def"},
        {"abc//./../def", "def"},
        {"abc/../../././../def", "../../def"},
        {"/../a", "/a"},
        {"...", "..."},
        {"/.a/..b", "/.a/..b"},
    };
    for (const auto& [path, clean] : table) {
        EXPECT_EQ(clean_path(path), clean) << path;
        EXPECT_EQ(clean_path(clean), clean) << clean;
    }
}

TEST(Url, CleanUrlPathKeepsTheSlashAtTheEnd) {
    EXPECT_EQ(clean_url_path(""), "/");
    EXPECT_EQ(clean_url_path("/"), "/");
    EXPECT_EQ(clean_url_path("//"), "/");
    EXPECT_EQ(clean_url_path("run"), "/run");
    EXPECT_EQ(clean_url_path("/run/"), "/run/");
    EXPECT_EQ(clean_url_path("//run//"), "/run/");
    EXPECT_EQ(clean_url_path("/a/../run"), "/run");
    EXPECT_EQ(clean_url_path("/run/.."), "/");
    EXPECT_EQ(clean_url_path("/a/b/../"), "/a/");
    EXPECT_EQ(clean_url_path("/../../x/."), "/x");
}

}  // namespace
}  // namespace sandbox
