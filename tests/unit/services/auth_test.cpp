#include "services/auth.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "support/folder.hpp"
#include "support/loop_fixture.hpp"

namespace sandbox {
namespace {

class AuthTest : public test::LoopTest {
  protected:
    std::string stored() const {
        std::ifstream file(path_);
        return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    }
    void store(const std::string& text) const {
        std::filesystem::create_directories(folder_ / "a/b");
        std::ofstream(path_) << text;
    }
    std::unique_ptr<Auth> pool_mode() {
        auto auth = Auth::pool_mode(loop_, pool_, path_);
        EXPECT_TRUE(auth) << auth.error().message;
        return auth ? std::move(*auth) : nullptr;
    }

    BlockingPool pool_{loop_, "pool", 1, 4};
    test::Folder folder_;
    const std::string path_ = folder_ / "a/b/secret";
};

TEST_F(AuthTest, AStaticSecretAndNothingElse) {
    std::string secret = " s3cret\n";
    Auth auth(loop_, pool_, secret);
    EXPECT_EQ(secret, "") << "it is wiped";
    EXPECT_EQ(run(auth.check("s3cret")), AuthVerdict::allowed);
    for (const char* wrong : {"", "s3cre", "s3crets", "S3cret", "x"}) {
        EXPECT_EQ(run(auth.check(wrong)), AuthVerdict::denied) << wrong;
    }
    EXPECT_EQ(run(auth.check(std::nullopt)), AuthVerdict::denied);
}

TEST_F(AuthTest, TheFirstTokenClaimsTheSandboxForGood) {
    auto auth = pool_mode();
    ASSERT_TRUE(auth);
    EXPECT_EQ(run(auth->check(std::nullopt)), AuthVerdict::denied);
    EXPECT_EQ(run(auth->check("")), AuthVerdict::denied);
    EXPECT_FALSE(std::filesystem::exists(path_)) << "nothing was claimed";
    EXPECT_EQ(run(auth->check("first")), AuthVerdict::allowed);
    EXPECT_EQ(run(auth->check("second")), AuthVerdict::denied);
    EXPECT_EQ(run(auth->check("first")), AuthVerdict::allowed);
    EXPECT_EQ(stored(), "first");
    struct stat info {};
    ASSERT_EQ(::stat(path_.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600U);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_ / "a/b"), {}), 1)
        << "no staged file is left";
    auto restarted = pool_mode();
    EXPECT_EQ(run(restarted->check("second")), AuthVerdict::denied);
    EXPECT_EQ(run(restarted->check("first")), AuthVerdict::allowed);
}

Task<> check(Auth& auth, std::string token, std::optional<AuthVerdict>& verdict) {
    verdict = co_await auth.check(std::move(token));
}

TEST_F(AuthTest, ARaceOfFirstClaimsHasOneWinner) {
    auto auth = pool_mode();
    ASSERT_TRUE(auth);
    std::vector<std::optional<AuthVerdict>> verdicts(100);
    for (std::size_t i = 0; i < verdicts.size(); ++i) {
        spawn_task(loop_, "claim", check(*auth, "token-" + std::to_string(i), verdicts[i]));
    }
    std::vector<std::size_t> winners;
    for (std::size_t i = 0; i < verdicts.size(); ++i) {
        drive_until([&] { return verdicts[i].has_value(); });
        if (verdicts[i] == AuthVerdict::allowed) {
            winners.push_back(i);
        } else {
            EXPECT_EQ(verdicts[i], AuthVerdict::denied);
        }
    }
    ASSERT_EQ(winners.size(), 1U);
    EXPECT_EQ(stored(), "token-" + std::to_string(winners[0]));
}

TEST_F(AuthTest, AClaimThatCannotBeStoredClaimsNothing) {
    auto auth = pool_mode();
    ASSERT_TRUE(auth);
    std::filesystem::remove_all(folder_ / "a");
    std::ofstream(folder_ / "a") << "in the way";
    std::vector<std::optional<AuthVerdict>> verdicts(3);
    for (std::size_t i = 0; i < verdicts.size(); ++i) {
        spawn_task(loop_, "claim", check(*auth, "token-" + std::to_string(i), verdicts[i]));
    }
    for (auto& verdict : verdicts) {
        drive_until([&] { return verdict.has_value(); });
        EXPECT_EQ(*verdict, AuthVerdict::claim_failed);
    }
    std::filesystem::remove(folder_ / "a");
    EXPECT_EQ(run(auth->check("late")), AuthVerdict::allowed);
    EXPECT_EQ(run(auth->check("token-0")), AuthVerdict::denied);
    EXPECT_EQ(stored(), "late");
}

TEST_F(AuthTest, AStoredSecretIsReadAtTheStart) {
    store("  kept \n");
    auto auth = pool_mode();
    ASSERT_TRUE(auth);
    EXPECT_EQ(run(auth->check("other")), AuthVerdict::denied);
    EXPECT_EQ(run(auth->check("kept")), AuthVerdict::allowed);
    EXPECT_EQ(stored(), "  kept \n");
}

TEST_F(AuthTest, FilesThatHoldNoSecret) {
    store(" \n");
    auto empty = Auth::pool_mode(loop_, pool_, path_);
    ASSERT_FALSE(empty);
    EXPECT_EQ(empty.error().message, "secret file \"" + path_ + "\" is empty");
    std::filesystem::remove(path_);
    std::filesystem::create_directory(path_);
    auto directory = Auth::pool_mode(loop_, pool_, path_);
    ASSERT_FALSE(directory);
    EXPECT_EQ(directory.error().message, "secret file " + path_ + ": is a directory");
}

TEST(BearerToken, TheSchemeInAnyCaseWithOneBlank) {
    auto token = [](std::string text) { return bearer_token(&text); };
    EXPECT_EQ(token("Bearer abc"), "abc");
    EXPECT_EQ(token("bEARER a b"), "a b");
    EXPECT_EQ(token("bearer abc=="), "abc==");
    for (const char* wrong : {"", "Bearer", "Bearer ", "Bearer  abc", "Bearer abc ", "Bearer\tabc",
                              "Basic abc", "abc", "xBearer abc"}) {
        EXPECT_EQ(token(wrong), std::nullopt) << wrong;
    }
    EXPECT_EQ(bearer_token(nullptr), std::nullopt);
}

}  // namespace
}  // namespace sandbox
