#include "base/json_fields.hpp"

#include <gtest/gtest.h>

namespace sandbox {
namespace {

template <class T>
std::string error_of(const Result<T>& result) {
    return result ? "no error" : result.error().message;
}

class JsonFieldsTest : public testing::Test {
  protected:
    void parse(std::string_view body) { parsed = JsonFields::parse(body, fields); }

    JsonFields fields;
    Result<> parsed;
};

TEST_F(JsonFieldsTest, Getters) {
    parse(
        R"({"cmd":"ls \u00e9","bg":true,"timeout":1.5,"n":-3,"args":["a","","\n"],"env":{"B":"2","A":null,"B":"3"}})");
    ASSERT_TRUE(parsed);
    EXPECT_EQ(fields.string("cmd").value(), "ls é");
    EXPECT_EQ(fields.boolean("bg").value(), true);
    EXPECT_EQ(fields.number("timeout").value(), 1.5);
    EXPECT_EQ(fields.number("n").value(), -3.0);
    EXPECT_EQ(fields.integer("n").value(), -3);
    EXPECT_EQ(fields.string_list("args").value(), (std::vector<std::string>{"a", "", "\n"}));
    EXPECT_EQ(fields.string_map("env").value(), (JsonFields::StringPairs{{"B", "3"}, {"A", ""}}));
}

TEST_F(JsonFieldsTest, AbsentAndNullAreTheSame) {
    parse(R"({"a":null})");
    ASSERT_TRUE(parsed);
    for (const char* key : {"a", "b", "A"}) {
        EXPECT_EQ(fields.string(key).value(), std::nullopt);
        EXPECT_EQ(fields.string_or(key, "dflt").value(), "dflt");
        EXPECT_EQ(fields.boolean(key).value(), std::nullopt);
        EXPECT_EQ(fields.number(key).value(), std::nullopt);
        EXPECT_EQ(fields.integer(key).value(), std::nullopt);
        EXPECT_EQ(fields.string_list(key).value(), std::nullopt);
        EXPECT_EQ(fields.string_map(key).value(), std::nullopt);
        EXPECT_EQ(fields.find(key), nullptr);
    }
}

TEST_F(JsonFieldsTest, ErrorsNameTheMember) {
    parse(
        R"({"s":"x","n":1,"f":1.5,"a":[1],"o":{"x":1},"e":[],"big":1e999,"huge":9223372036854775808,"mixed":["a",null]})");
    ASSERT_TRUE(parsed);
    EXPECT_EQ(error_of(fields.string("n")), "n must be a string");
    EXPECT_EQ(error_of(fields.string_or("n", "")), "n must be a string");
    EXPECT_EQ(error_of(fields.boolean("s")), "s must be a boolean");
    EXPECT_EQ(error_of(fields.number("s")), "s must be a number");
    EXPECT_EQ(error_of(fields.number("big")), "big is out of range");
    EXPECT_EQ(error_of(fields.integer("f")), "f must be an integer");
    EXPECT_EQ(error_of(fields.integer("s")), "s must be an integer");
    EXPECT_EQ(error_of(fields.integer("huge")), "huge is out of range");
    EXPECT_EQ(error_of(fields.integer("big")), "big is out of range");
    EXPECT_EQ(error_of(fields.string_list("s")), "s must be a list of strings");
    EXPECT_EQ(error_of(fields.string_list("a")), "a must be a list of strings");
    EXPECT_EQ(error_of(fields.string_list("mixed")), "mixed must be a list of strings");
    EXPECT_EQ(error_of(fields.string_map("e")), "e must be an object of strings");
    EXPECT_EQ(error_of(fields.string_map("o")), "o must be an object of strings");
    EXPECT_EQ(fields.string("n").error().code, Errc::invalid_argument);
}

TEST_F(JsonFieldsTest, IntegersInAnyNotation) {
    parse(R"({"a":5.0,"b":5e2,"c":-0.0,"d":9223372036854775807,"e":9007199254740993.0})");
    ASSERT_TRUE(parsed);
    EXPECT_EQ(fields.integer("a").value(), 5);
    EXPECT_EQ(fields.integer("b").value(), 500);
    EXPECT_EQ(fields.integer("c").value(), 0);
    EXPECT_EQ(fields.integer("d").value(), 9223372036854775807);
    EXPECT_EQ(error_of(fields.integer("e")), "e is out of range") << "a double is not that number";
}

TEST_F(JsonFieldsTest, TheLastDuplicateCounts) {
    parse(R"({"a":"x","a":{"y":"1"},"b":1,"b":null,"c":null,"c":"z"})");
    ASSERT_TRUE(parsed);
    EXPECT_EQ(fields.find("a")->text, R"({"y":"1"})");
    EXPECT_EQ(fields.find("b"), nullptr);
    EXPECT_EQ(fields.string("c").value(), "z");
}

TEST_F(JsonFieldsTest, BadBytesInsideNestedValuesAreReplaced) {
    parse("{\"args\":[\"a\xFF\"],\"env\":{\"K\":\"\xFF\\ud800\"}}");
    ASSERT_TRUE(parsed);
    EXPECT_EQ(fields.string_list("args").value(), (std::vector<std::string>{"a\uFFFD"}));
    EXPECT_EQ(fields.string_map("env").value(), (JsonFields::StringPairs{{"K", "\uFFFD\uFFFD"}}));
}

TEST_F(JsonFieldsTest, InvalidJson) {
    parse("{\"a\":1");
    EXPECT_EQ(error_of(parsed), "invalid JSON: unexpected end at byte 6");
}

TEST_F(JsonFieldsTest, DivertedStringsGoToTheSink) {
    std::string got;
    fields.divert("content", [&](std::string_view part) { got += part; });
    parse(R"({"path":"/x","content":"line\nline"})");
    ASSERT_TRUE(parsed);
    EXPECT_EQ(got, "line\nline");
    ASSERT_NE(fields.find("content"), nullptr);
    EXPECT_TRUE(fields.find("content")->diverted);
    EXPECT_EQ(fields.find("content")->text, "");
    EXPECT_FALSE(fields.find("path")->diverted);
}

TEST_F(JsonFieldsTest, ADivertedMemberOfAnotherTypeIsAnError) {
    std::string got;
    fields.divert("content", [&](std::string_view part) { got += part; });
    parse(R"({"content":5})");
    ASSERT_TRUE(parsed);
    EXPECT_EQ(error_of(fields.string("content")), "content must be a string");
    EXPECT_EQ(got, "");
}

TEST_F(JsonFieldsTest, ADivertedMemberSentTwice) {
    std::string got;
    fields.divert("content", [&](std::string_view part) { got += part; });
    parse(R"({"content":"a","content":"b"})");
    EXPECT_EQ(error_of(parsed), "content is given twice");
    EXPECT_EQ(got, "a");

    JsonFields restarting;
    got.clear();
    restarting.divert(
        "content", [&](std::string_view part) { got += part; }, [&] { got.clear(); });
    ASSERT_TRUE(JsonFields::parse(R"({"content":"a","content":"b"})", restarting));
    EXPECT_EQ(got, "b");
    got.clear();
}

TEST(JsonFields, LimitCountsEverythingKept) {
    const std::string body = "{\"a\":\"" + std::string(1000, 'x') + "\"}";
    JsonFields enough(1000 + 1 + 64);
    EXPECT_TRUE(JsonFields::parse(body, enough));
    JsonFields small(1000 + 1 + 63);
    const auto result = JsonFields::parse(body, small);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::too_large);
    EXPECT_EQ(small.find("a"), nullptr) << "nothing is kept after the failure";

    JsonFields many(10'000);
    std::string members = "{";
    for (int i = 0; i < 1000; ++i) members += "\"" + std::to_string(i) + "\":1,";
    EXPECT_FALSE(JsonFields::parse(members + "\"z\":1}", many)) << "small members count too";

    JsonFields repeated(2000);
    members = "{";
    for (int i = 0; i < 1000; ++i) members += "\"a\":\"0123456789\",";
    EXPECT_TRUE(JsonFields::parse(members + "\"z\":1}", repeated))
        << "what a duplicate replaces is free again";
}

TEST(JsonFields, MembersNobodyAskedForCostNothing) {
    JsonFields fields(500);
    std::string got;
    fields.keep_only({"cmd"});
    fields.divert("stdin", [&](std::string_view part) { got += part; });
    const std::string large(100'000, 'x');
    ASSERT_TRUE(
        JsonFields::parse(R"({"junk":")" + large + R"(","cmd":"ls","stdin":")" + large + "\"}", fields));
    EXPECT_EQ(fields.string("cmd").value(), "ls");
    EXPECT_EQ(fields.find("junk"), nullptr);
    EXPECT_EQ(got, large);
}

}  // namespace
}  // namespace sandbox
