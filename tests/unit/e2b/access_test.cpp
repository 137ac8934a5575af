#include "e2b/access.hpp"

#include <gtest/gtest.h>

namespace sandbox::e2b {
namespace {

net::Request request(std::string path, std::string query = "", std::string token = "") {
    net::Request made;
    made.method = net::Method::get;
    made.path = std::move(path);
    made.raw_query = std::move(query);
    if (!token.empty()) made.headers.emplace_back("x-access-token", std::move(token));
    return made;
}

constexpr const char* kToken = "0tQG31xiMp0IOQfaz9dcwi72L1CPo8e0";

TEST(AccessTest, TheSignatureOfTheDocumentation) {
    Access access(kToken);
    std::string signed_query =
        "path=hello.txt&username=user&signature=v1_gUtH%2Fs9YCJWgCizjfUxuWfhFE4QSydOWEIIvfLwDr6E";
    EXPECT_FALSE(access.check(request("/files", signed_query), true));
    net::Request upload = request("/files", signed_query);
    upload.method = net::Method::post;
    EXPECT_TRUE(access.check(upload, true)) << "made for reading";
    EXPECT_TRUE(access.check(request("/files", signed_query, "wrong"), true)) << "a wrong token counts";
    EXPECT_TRUE(access.check(request("/envs", signed_query), true)) << "files only";
}

TEST(AccessTest, WhatNeedsTheToken) {
    Access access("token");
    EXPECT_FALSE(access.check(request("/health"), false));
    EXPECT_FALSE(access.check(request("/init"), true));
    EXPECT_TRUE(access.check(request("/init"), false));
    EXPECT_TRUE(access.check(request("/process.Process/List"), true));
    EXPECT_FALSE(access.check(request("/process.Process/List", "", "token"), true));
    std::optional<net::Denial> denial = access.check(request("/metrics"), true);
    ASSERT_TRUE(denial);
    EXPECT_EQ(denial->status, 401);
    EXPECT_EQ(denial->json, std::string("{\"message\":\"") + kUnauthorized + "\",\"code\":401}");
}

TEST(AccessTest, OpenUntilATokenIsSet) {
    Access access("");
    EXPECT_TRUE(access.is_open());
    EXPECT_FALSE(access.check(request("/metrics"), true));
    access.set_token("token");
    EXPECT_TRUE(access.check(request("/metrics"), true));
    EXPECT_TRUE(access.matches("token"));
}

TEST(AccessTest, WithoutATokenItIsForProgramsOfThisMachine) {
    Access access("");
    auto status = [&](const char* path, const char* origin, const char* host) {
        net::Request made = request(path);
        if (origin != nullptr) made.headers.emplace_back("origin", origin);
        if (host != nullptr) made.headers.emplace_back("host", host);
        std::optional<net::Denial> denial = access.check(made, true);
        return denial ? denial->status : 0;
    };
    for (const char* host : {"localhost:49983", "localhost", "a.localhost:1", "127.0.0.1:49983",
                             "[::1]:49983", "::1", "10.0.0.1", "sandbox:49983", ""}) {
        EXPECT_EQ(status("/files", nullptr, host), 0) << host;
    }
    for (const char* origin : {"http://localhost:3000", "https://127.0.0.1", "http://[::1]:80"}) {
        EXPECT_EQ(status("/init", origin, "localhost:49983"), 0) << origin;
    }
    for (const char* origin : {"null", "", "https://example.org", "http://10.0.0.1",
                               "http://localhost.example.org", "http://127.example.org", "file://"}) {
        EXPECT_EQ(status("/init", origin, "localhost:49983"), 403) << origin;
    }
    for (const char* host :
         {"example.org", "example.org:49983", "127.0.0.1.example.org:49983", "localhost.example.org"}) {
        EXPECT_EQ(status("/files", nullptr, host), 403) << host;
    }
    EXPECT_EQ(status("/files", nullptr, nullptr), 0);
    EXPECT_EQ(status("/health", "https://example.org", "example.org"), 0);
    access.set_token("token");
    EXPECT_EQ(status("/files", "https://example.org", "example.org"), 401);
}

TEST(AccessTest, AnEmptyTokenIsNone) {
    Access access("token");
    net::Request made = request("/files", "path=x");
    made.headers.emplace_back("x-access-token", "");
    EXPECT_EQ(access.check(made, true)->message, "missing signature query parameter");
}

TEST(AccessTest, AFallbackKnowsTheTokenButMakesNoSignatures) {
    Access access("", [](const std::string& given) { return given == "known"; });
    EXPECT_FALSE(access.is_open());
    EXPECT_TRUE(access.matches("known"));
    EXPECT_FALSE(access.matches("")) << "nothing is no token";
    EXPECT_FALSE(access.matches("other"));
    EXPECT_TRUE(access.check(request("/files", "path=x&signature=v1_x"), true));
}

}  // namespace
}  // namespace sandbox::e2b
