#include "net/http_text.hpp"

#include <gtest/gtest.h>

#include <ctime>

#include "net/router.hpp"

namespace sandbox::net {
namespace {

TEST(HttpText, StatusLinesAndChunkSizes) {
    std::string text;
    append_status_line(text, 200);
    append_status_line(text, 431);
    append_status_line(text, 799);
    EXPECT_EQ(text, "200 OK\r\n431 Request Header Fields Too Large\r\n799 Unknown\r\n");
    char buffer[20];
    EXPECT_EQ(chunk_size_line(0, buffer), "0\r\n");
    EXPECT_EQ(chunk_size_line(255, buffer), "ff\r\n");
    EXPECT_EQ(chunk_size_line(~std::size_t{0}, buffer), "ffffffffffffffff\r\n");
}

TEST(HttpText, TheDate) {
    std::string text(http_date_now());
    std::tm parts{};
    const char* end = ::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    ASSERT_TRUE(end != nullptr && *end == '\0') << text;
    EXPECT_EQ(text.size(), 29U);
    EXPECT_LE(std::abs(::timegm(&parts) - std::time(nullptr)), 2);
}

TEST(HttpText, Targets) {
    auto target = [](std::string_view text) {
        auto split = split_target(text);
        return split ? split->path + "|" + split->query : "malformed";
    };
    EXPECT_EQ(target("/"), "/|");
    EXPECT_EQ(target("/a%20b?x=%20&y"), "/a b|x=%20&y");
    EXPECT_EQ(target("/a?b?c"), "/a|b?c");
    EXPECT_EQ(target("/a+b"), "/a+b|");
    EXPECT_EQ(target("/%2Fetc"), "//etc|");
    EXPECT_EQ(target("http://host:1/x?y"), "/x|y");
    EXPECT_EQ(target("https://host"), "/|");
    for (const char* bad : {"", "x", "*", "?x", "/%", "/%2", "/%zz", "ftp://h/x", "host:80"})
        EXPECT_EQ(target(bad), "malformed") << bad;
}

TEST(HttpText, PathsInALocation) {
    EXPECT_EQ(percent_encode_path("/a b\r\n?#%\"<>\xc3\xa9~"), "/a%20b%0D%0A%3F%23%25%22%3C%3E%C3%A9~");
    auto back = split_target(percent_encode_path("/a b?c"));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->path, "/a b?c");
}

TEST(Router, ExactPathsAlsoBelowAPrefix) {
    Router router({"/koyeb-sandbox", "/other"});
    router.add({"/run", {Method::post}, false, {}});
    router.add({"/health", {Method::get}, true, {}});
    router.add(
        {"/both", {Method::get, Method::post, Method::put, Method::delete_, Method::options}, false, {}});
    Router::Match match = router.find("/health");
    ASSERT_TRUE(match.route);
    EXPECT_EQ(match.route->path, "/health");
    EXPECT_EQ(match.index, 1U);
    EXPECT_EQ(match.path, "/health");
    match = router.find("/koyeb-sandbox/run");
    ASSERT_TRUE(match.route);
    EXPECT_EQ(match.index, 0U);
    EXPECT_EQ(match.path, "/run");
    EXPECT_TRUE(router.find("/other/run").route);
    for (const char* unknown : {"/", "", "/run/", "/Run", "/runs", "/koyeb-sandbox", "/koyeb-sandbox/",
                                "/koyeb-sandboxrun", "/koyeb-sandbox/koyeb-sandbox/run", "/third/run"}) {
        EXPECT_FALSE(router.find(unknown).route) << unknown;
    }
    const Route& run = *router.find("/run").route;
    const Route& health = *router.find("/health").route;
    EXPECT_TRUE(Router::allows(run, Method::post));
    EXPECT_FALSE(Router::allows(run, Method::get));
    EXPECT_FALSE(Router::allows(run, Method::head));
    EXPECT_FALSE(Router::allows(run, Method::other));
    EXPECT_TRUE(Router::allows(health, Method::head));
    EXPECT_EQ(Router::allowed(run), "POST");
    EXPECT_EQ(Router::allowed(health), "GET, HEAD");
    EXPECT_EQ(Router::allowed(*router.find("/both").route), "GET, HEAD, POST, PUT, DELETE, OPTIONS");
}

TEST(Request, HeadersAndQueries) {
    Request request;
    request.headers = {{"a", "1"}, {"b", "2"}, {"a", "3"}};
    request.raw_query = "id=x%20y&id=z&flag&plus=a+b";
    ASSERT_TRUE(request.header("a"));
    EXPECT_EQ(*request.header("a"), "1");
    EXPECT_FALSE(request.header("c"));
    EXPECT_EQ(request.query("id"), "x y");
    EXPECT_EQ(request.query("flag"), "");
    EXPECT_EQ(request.query("plus"), "a b");
    EXPECT_EQ(request.query("none"), std::nullopt);
}

}  // namespace
}  // namespace sandbox::net
