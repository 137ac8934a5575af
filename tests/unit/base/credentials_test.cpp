#include "base/credentials.hpp"

#include <gtest/gtest.h>

#include <string>

namespace sandbox {
namespace {

TEST(CredentialsTest, AreWhatStandsBehindTheScheme) {
    auto basic = [](std::string text) {
        auto found = credentials(&text, "basic");
        return found ? std::string(*found) : "none";
    };
    for (const char* spelling : {"Basic", "basic", "BASIC", "bAsIc"}) {
        EXPECT_EQ(basic(std::string(spelling) + " dXNlcjo="), "dXNlcjo=");
    }
    EXPECT_EQ(basic("Basic  two blanks"), " two blanks");
    for (const char* other :
         {"", "Basic", "Basic ", "Basi dXNlcjo=", "Basicd dXNlcjo=", "Bearer dXNlcjo=", "Basic\tx"}) {
        EXPECT_EQ(basic(other), "none") << other;
    }
    EXPECT_EQ(credentials(nullptr, "basic"), std::nullopt);
}

}  // namespace
}  // namespace sandbox
