#include "app/config.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "support/folder.hpp"

namespace sandbox {
namespace {

using Environment = std::map<std::string, std::string>;

Result<ParsedCommandLine> parse(const std::vector<std::string>& arguments, const Environment& environment) {
    return parse_config(arguments, [&](std::string_view name) -> std::optional<std::string> {
        auto found = environment.find(std::string(name));
        if (found == environment.end()) return std::nullopt;
        return found->second;
    });
}

Config config_of(const std::vector<std::string>& arguments, const Environment& environment) {
    auto parsed = parse(arguments, environment);
    EXPECT_TRUE(parsed) << parsed.error().message;
    return parsed ? parsed->config : Config{};
}

std::string error_of(const std::vector<std::string>& arguments, const Environment& environment) {
    auto parsed = parse(arguments, environment);
    EXPECT_FALSE(parsed);
    return parsed ? "" : parsed.error().message;
}

const Environment kSecret = {{"SANDBOX_SECRET", "s"}};

Environment with(Environment environment, const Environment& more) {
    environment.insert(more.begin(), more.end());
    return environment;
}

TEST(Config, Defaults) {
    Config config = config_of({}, kSecret);
    EXPECT_EQ(config.port, "3030");
    EXPECT_EQ(config.proxy_port, "3031");
    EXPECT_EQ(config.auth_mode, AuthMode::static_secret);
    EXPECT_EQ(config.secret, "s");
    EXPECT_EQ(config.secret_path, "/var/lib/sandbox-container/sandbox-secret");
    EXPECT_EQ(config.log_level, log::Level::info);
    EXPECT_EQ(config.http.head_bytes, 65'536U);
    EXPECT_EQ(config.http.body_bytes, 1U << 30U);
    EXPECT_EQ(config.http.head_time, std::chrono::seconds(30));
    EXPECT_EQ(config.http.idle_time, std::chrono::seconds(300));
    EXPECT_EQ(config.http.connections, 10'000U);
    EXPECT_EQ(config.drain, std::chrono::milliseconds(100));
    EXPECT_EQ(config.kill_grace, std::chrono::seconds(5));
    EXPECT_EQ(config.shutdown_budget, std::chrono::seconds(5));
    EXPECT_TRUE(config.entrypoint.empty());
}

TEST(Config, VariablesAndFlagsThatWin) {
    const Environment environment = with(kSecret, {{"PORT", "1"},
                                                   {"PROXY_PORT", ""},
                                                   {"LOG_LEVEL", "debug"},
                                                   {"SANDBOX_DRAIN", "0.25"},
                                                   {"SANDBOX_MAX_CONNECTIONS", "7"}});
    Config config = config_of({}, environment);
    EXPECT_EQ(config.port, "1");
    EXPECT_EQ(config.proxy_port, "3031") << "an empty variable counts as unset";
    EXPECT_EQ(config.log_level, log::Level::debug);
    EXPECT_EQ(config.drain, std::chrono::milliseconds(250));
    EXPECT_EQ(config.http.connections, 7U);
    config = config_of({"--port", "2", "--drain=1.5", "--secret=other", "--idle-timeout", "9"}, environment);
    EXPECT_EQ(config.port, "2");
    EXPECT_EQ(config.drain, std::chrono::milliseconds(1500));
    EXPECT_EQ(config.secret, "other");
    EXPECT_EQ(config.http.idle_time, std::chrono::seconds(9));
    EXPECT_EQ(config_of({"--port=a=b"}, environment).port, "a=b");
}

TEST(Config, WhatTheHelpCallsTheDefaultCanBeSaid) {
    EXPECT_EQ(config_of({"--envd-port", "off"}, with(kSecret, {{"ENVD_PORT", "49983"}})).envd_port, "");
    EXPECT_EQ(config_of({"--envd-port", "49983"}, with(kSecret, {{"ENVD_PORT", "off"}})).envd_port, "49983");
    EXPECT_TRUE(config_of({}, with(kSecret, {{"SANDBOX_CGROUPS", "auto"}})).cgroups);
}

TEST(Config, ModesAndSecrets) {
    EXPECT_EQ(error_of({}, {}), "SANDBOX_SECRET environment variable not set");
    EXPECT_EQ(error_of({}, {{"SANDBOX_SECRET", ""}}), "SANDBOX_SECRET environment variable not set");
    EXPECT_EQ(error_of({}, {{"SANDBOX_SECRET", " \n"}}), "SANDBOX_SECRET environment variable not set");
    EXPECT_EQ(error_of({}, {{"SANDBOX_AUTH_MODE", "x"}}), "unsupported SANDBOX_AUTH_MODE \"x\"");
    EXPECT_EQ(error_of({}, with(kSecret, {{"SANDBOX_AUTH_MODE", "pool"}})),
              "SANDBOX_SECRET cannot be set when SANDBOX_AUTH_MODE=pool");
    Config config = config_of({}, {{"SANDBOX_AUTH_MODE", "POOL"}, {"SANDBOX_SECRET_PATH", "/p"}});
    EXPECT_EQ(config.auth_mode, AuthMode::pool);
    EXPECT_EQ(config.secret_path, "/p");
    EXPECT_EQ(config_of({}, with(kSecret, {{"SANDBOX_AUTH_MODE", "Static"}})).auth_mode,
              AuthMode::static_secret);
}

TEST(Config, ASecretFromAFile) {
    test::Folder folder;
    const std::string name = folder.file("secret", "", 0600);
    EXPECT_EQ(error_of({}, {{"SANDBOX_SECRET_FILE", name}}), "secret file \"" + name + "\" is empty");
    std::ofstream(name) << " from a file \n";
    EXPECT_EQ(config_of({}, {{"SANDBOX_SECRET_FILE", name}}).secret, "from a file");
    EXPECT_EQ(error_of({}, {{"SANDBOX_SECRET_FILE", name}, {"SANDBOX_AUTH_MODE", "pool"}}),
              "SANDBOX_SECRET cannot be set when SANDBOX_AUTH_MODE=pool");
    std::filesystem::remove(name);
    EXPECT_EQ(error_of({}, {{"SANDBOX_SECRET_FILE", name}}), "cannot read secret file \"" + name + "\"");
    EXPECT_EQ(error_of({}, {{"SANDBOX_SECRET_FILE", "/tmp"}}), "cannot read secret file \"/tmp\"");
    EXPECT_EQ(error_of({}, {{"SANDBOX_SECRET_FILE", "/dev/zero"}}),
              "secret file \"/dev/zero\" is larger than 64 KiB");
}

TEST(Config, ValuesThatMakeNoSense) {
    for (const auto& [variable, value] :
         std::vector<std::pair<std::string, std::string>>{{"SANDBOX_MAX_CONNECTIONS", "0"},
                                                          {"SANDBOX_MAX_CONNECTIONS", "-1"},
                                                          {"SANDBOX_MAX_CONNECTIONS", "1x"},
                                                          {"SANDBOX_MAX_CONNECTIONS", "1.5"},
                                                          {"SANDBOX_MAX_CONNECTIONS", " 1"},
                                                          {"SANDBOX_MAX_HEADER_BYTES", "100"},
                                                          {"SANDBOX_IDLE_TIMEOUT", "0"},
                                                          {"SANDBOX_IDLE_TIMEOUT", "99999999999"},
                                                          {"SANDBOX_DRAIN", "-1"},
                                                          {"SANDBOX_DRAIN", "nan"},
                                                          {"SANDBOX_DRAIN", "inf"},
                                                          {"SANDBOX_DRAIN", "1e9"},
                                                          {"SANDBOX_DRAIN", "1s"},
                                                          {"SANDBOX_KILL_GRACE", " "},
                                                          {"SANDBOX_LOG_BUDGET", "99999999999999999999"},
                                                          {"SANDBOX_CGROUPS", "maybe"}}) {
        std::string message = error_of({}, with(kSecret, {{variable, value}}));
        EXPECT_EQ(message.substr(0, variable.size() + value.size() + 4), variable + " \"" + value + "\":")
            << message;
    }
    EXPECT_EQ(error_of({}, with(kSecret, {{"PORT", "3031"}})), "PORT and PROXY_PORT are both 3031");
    config_of({}, with(kSecret, {{"PORT", "0"}, {"PROXY_PORT", "0"}}));
    EXPECT_EQ(config_of({}, with(kSecret, {{"LOG_LEVEL", "loud"}})).log_level, log::Level::info);
    EXPECT_EQ(config_of({}, with(kSecret, {{"SANDBOX_IDLE_TIMEOUT", "1000000000"}})).http.idle_time,
              std::chrono::seconds(1'000'000'000));
    EXPECT_EQ(config_of({}, with(kSecret, {{"SANDBOX_KILL_GRACE", "0"}})).kill_grace,
              std::chrono::milliseconds(0));
}

TEST(Config, CommandLines) {
    EXPECT_EQ(error_of({"--prot", "1"}, kSecret),
              "unknown argument \"--prot\" (try --help; a command goes behind --)");
    EXPECT_EQ(error_of({"sleep"}, kSecret),
              "unknown argument \"sleep\" (try --help; a command goes behind --)");
    EXPECT_EQ(error_of({"--port"}, kSecret), "--port wants a value");
    EXPECT_EQ(error_of({"-p", "1"}, kSecret).substr(0, 16), "unknown argument");
    Config config = config_of({"--port", "5", "--", "cmd", "--port", "6", "--", "--help"}, kSecret);
    EXPECT_EQ(config.port, "5");
    EXPECT_EQ(config.entrypoint, (std::vector<std::string>{"cmd", "--port", "6", "--", "--help"}));
    EXPECT_TRUE(config_of({"--"}, kSecret).entrypoint.empty());
    for (const char* flag : {"--help", "-h"}) {
        auto help = parse({flag}, {});
        ASSERT_TRUE(help) << "without a secret";
        EXPECT_NE(help->print.find("--max-connections"), std::string::npos);
        EXPECT_NE(help->print.find("SANDBOX_SECRET_PATH"), std::string::npos);
    }
    auto version = parse({"--version"}, {});
    ASSERT_TRUE(version);
    EXPECT_EQ(version->print.substr(0, 17), "sandbox-executor ");
    EXPECT_TRUE(parse({}, kSecret)->print.empty());
}

TEST(Config, WhatCommandsMayNotSee) {
    for (const char* name : {"SANDBOX_SECRET", "SANDBOX_SECRET_FILE", "SANDBOX_SECRET_PATH",
                             "SANDBOX_AUTH_MODE", "PORT", "PROXY_PORT", "ENVD_ACCESS_TOKEN"}) {
        EXPECT_TRUE(is_private_variable(name)) << name;
    }
    for (const char* name : {"PATH", "HOME", "PORTS", "MY_PORT", "SANDBOX_DRAIN", "", "ENV"}) {
        EXPECT_FALSE(is_private_variable(name)) << name;
    }
}

TEST(Config, HealthNeedsNothingButThePort) {
    auto parsed =
        parse({"--health"}, {{"PORT", "4711"}, {"SANDBOX_SECRET_FILE", "/none"}, {"PROXY_PORT", "4711"}});
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_TRUE(parsed->health);
    EXPECT_EQ(parsed->config.port, "4711");
    EXPECT_FALSE(parse({}, kSecret)->health);
    EXPECT_EQ(parse({"--health", "--port", "12"}, {{"PORT", "4711"}})->config.port, "12");
}

}  // namespace
}  // namespace sandbox
