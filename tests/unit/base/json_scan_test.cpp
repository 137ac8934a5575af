#include "base/json_scan.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/json_escape.hpp"
#include "unit/base/feed_ways.hpp"
#include "unit/base/json_record.hpp"

namespace sandbox {
namespace {

using test::for_every_way;
using test::Member;
using test::Pieces;
using test::Scan;
using namespace std::string_literals;

std::vector<Member> members_of(std::string_view text) {
    const Scan whole = test::scan(Pieces{text});
    EXPECT_TRUE(whole.valid) << text << ": " << whole.error;
    EXPECT_FALSE(whole.misused);
    for_every_way(text, [&](const Pieces& pieces) { EXPECT_EQ(test::scan(pieces).members, whole.members); });
    return whole.members;
}

std::string string_value(const std::string& json_content) {
    const auto members = members_of("{\"k\":\"" + json_content + "\"}");
    if (members.size() != 1 || members[0].kind != ValueKind::string) return "no string";
    return members[0].text;
}

std::string error_of(std::string_view text) {
    const Scan whole = test::scan(Pieces{text});
    EXPECT_FALSE(whole.valid) << text;
    for_every_way(text, [&](const Pieces& pieces) { EXPECT_EQ(test::scan(pieces).error, whole.error); });
    return whole.error;
}

TEST(JsonScan, Members) {
    EXPECT_EQ(members_of(""
                         "{ \"cmd\" : \"ls\",\t\"n\":-1.5e+3 ,\r\n\"t\":true,\"f\":false,\"z\":null,"
                         "\"a\":[ 1, \"x y\" ,{} , [ ] ],\"o\":{ \"p\" : [ true , null ] },\"\":\"\"}\n"),
              (std::vector<Member>{{"cmd", ValueKind::string, "ls"},
                                   {"n", ValueKind::number, "-1.5e+3"},
                                   {"t", ValueKind::boolean, "true"},
                                   {"f", ValueKind::boolean, "false"},
                                   {"z", ValueKind::null, "null"},
                                   {"a", ValueKind::array, R"([1,"x y",{},[]])"},
                                   {"o", ValueKind::object, R"({"p":[true,null]})"},
                                   {"", ValueKind::string, ""}}));
}

TEST(JsonScan, EmptyObjectsAndNull) {
    for (const std::string_view text : {"{}", " { } ", "null", "\n null\t"})
        EXPECT_TRUE(members_of(text).empty());
}

TEST(JsonScan, DuplicatesAreAllReported) {
    EXPECT_EQ(members_of(R"({"a":1,"a":"2"})"),
              (std::vector<Member>{{"a", ValueKind::number, "1"}, {"a", ValueKind::string, "2"}}));
}

TEST(JsonScan, Escapes) {
    EXPECT_EQ(string_value(R"(\"\\\/\b\f\n\r\t)"), "\"\\/\b\f\n\r\t");
    EXPECT_EQ(string_value(R"(\u0041\u00e9\u20AC\uFFFF)"), "Aé€\uFFFF");
    EXPECT_EQ(string_value(R"(a\u0000b)"), "a\0b"s);
    EXPECT_EQ(string_value(R"(\ud83d\ude00\uDBFF\uDFFF)"), "😀\U0010FFFF");
    EXPECT_EQ(members_of(R"({"c\u006dd":"x"})")[0].key, "cmd");
}

TEST(JsonScan, LoneSurrogatesBecomeTheReplacement) {
    EXPECT_EQ(string_value(R"(\ud83d)"), "\uFFFD");
    EXPECT_EQ(string_value(R"(\ude00)"), "\uFFFD");
    EXPECT_EQ(string_value(R"(\ud83dx)"), "\uFFFDx");
    EXPECT_EQ(string_value(R"(\ud83d\n)"), "\uFFFD\n");
    EXPECT_EQ(string_value(R"(\ud83d\u0041)"), "\uFFFDA");
    EXPECT_EQ(string_value(R"(\ud83d\ud83d\ude00)"), "\uFFFD😀");
    EXPECT_EQ(string_value("\\ud83d€"), "\uFFFD€");
    EXPECT_EQ(string_value("\\ud83d\x80"), "\uFFFD\uFFFD");
}

TEST(JsonScan, InvalidUtf8BecomesTheReplacementByteForByte) {
    EXPECT_EQ(string_value("é€😀"), "é€😀");
    EXPECT_EQ(string_value("\xF1\x80\x80"s + "A"), "\uFFFD\uFFFD\uFFFDA");
    EXPECT_EQ(string_value("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
    EXPECT_EQ(string_value("\xF0\x9F\xC3\xA9"), "\uFFFD\uFFFDé");
    EXPECT_EQ(string_value("\xE2\x82"), "\uFFFD\uFFFD");
    EXPECT_EQ(string_value("\xE2\x82\\n"), "\uFFFD\uFFFD\n");
    EXPECT_EQ(members_of("{\"\xFF\":1}")[0].key, "\uFFFD");
    // In nested values too, so that what parses them next sees valid UTF-8.
    EXPECT_EQ(members_of("{\"a\":[\"\xFF\\ud800\"]}")[0].text, R"(["��"])");
}

TEST(JsonScan, NestedStringsKeepTheirMeaning) {
    const auto members = members_of(R"({"e":{"A":"x\ny\"<\u0001","\u00e9":"\ud83d\ude00"}})");
    ASSERT_EQ(members.size(), 1u);
    EXPECT_EQ(nlohmann::json::parse(members[0].text), (nlohmann::json{{"A", "x\ny\"<\x01"}, {"é", "😀"}}));
}

TEST(JsonScan, Numbers) {
    for (const std::string number :
         {"0", "-0", "7", "1234567890123456789012", "0.5", "-1.25", "1e5", "1E+5", "0e-0", "1e999"}) {
        EXPECT_EQ(members_of("{\"n\":" + number + "}"),
                  (std::vector<Member>{{"n", ValueKind::number, number}}));
        EXPECT_EQ(members_of("{\"n\":[" + number + " ,1]}")[0].text, "[" + number + ",1]");
    }
    for (const std::string number : {"01", "-", "+1", ".5", "1.", "1.e1", "1e", "1e+", "0x1", "--1", "1-",
                                     "NaN", "Infinity", "1_0", "00"}) {
        EXPECT_NE(error_of("{\"n\":" + number + "}"), "");
        EXPECT_NE(error_of("{\"n\":[" + number + "]}"), "");
    }
}

TEST(JsonScan, Refused) {
    EXPECT_EQ(error_of(""), "unexpected end at byte 0");
    EXPECT_EQ(error_of("  "), "unexpected end at byte 2");
    EXPECT_EQ(error_of("\xEF\xBB\xBF{}"), "not a JSON object at byte 0");
    EXPECT_EQ(error_of("[1]"), "not a JSON object at byte 0");
    EXPECT_EQ(error_of("{} x"), "trailing bytes after the value at byte 3");
    EXPECT_EQ(error_of("{}{}"), "trailing bytes after the value at byte 2");
    EXPECT_EQ(error_of("nullx"), "trailing bytes after the value at byte 4");
    EXPECT_EQ(error_of("{\"a\":\"\n\"}"), "control character in a string at byte 6");
    EXPECT_EQ(error_of("{\"a\":\"\\x41\"}"), "invalid escape at byte 7");
    for (const std::string_view text : {"\"x\"",
                                        "1",
                                        "true",
                                        "nul",
                                        "nulL",
                                        "{",
                                        "{\"a\"",
                                        "{\"a\":",
                                        "{\"a\":1",
                                        "{\"a\":1,",
                                        "{\"a\":1,}",
                                        "{,}",
                                        "{\"a\" 1}",
                                        "{\"a\"::1}",
                                        "{a:1}",
                                        "{'a':1}",
                                        "{\"a\":'x'}",
                                        "{\"a\":1]",
                                        "{\"a\":[1}",
                                        "{\"a\":[1,]}",
                                        "{\"a\":[,1]}",
                                        "{\"a\":[1 2]}",
                                        "{\"a\":{\"b\"}}",
                                        "{\"a\":{1:2}}",
                                        "{\"a\":tru}",
                                        "{\"a\":True}",
                                        "{\"a\":\"x",
                                        "{\"a\":\"\\u12\"}",
                                        "{\"a\":\"\\u12g4\"}",
                                        "{\"a\":\"\\",
                                        "{\"a\":/**/1}",
                                        "{\"a\":1}//",
                                        "{}\f",
                                        "{\"a\":[\"\t\"]}",
                                        "{\"a\":undefined}",
                                        "{1:2}",
                                        "{null:1}",
                                        "}",
                                        "]"}) {
        EXPECT_NE(error_of(text), "") << text;
    }
    EXPECT_NE(error_of("{}\0"s), "");
}

TEST(JsonScan, DepthIsBounded) {
    const auto nested = [](std::size_t levels) {
        return "{\"a\":" + std::string(levels - 1, '[') + std::string(levels - 1, ']') + "}";
    };
    const std::string deepest = nested(JsonObjectScanner::kMaxDepth);
    EXPECT_TRUE(test::scan(Pieces{deepest}).valid);
    const Scan deeper = test::scan(Pieces{nested(JsonObjectScanner::kMaxDepth + 1)});
    EXPECT_FALSE(deeper.valid);
    EXPECT_NE(deeper.error.find("nested too deep"), std::string::npos);
    std::string objects;
    for (int i = 0; i < 600; ++i) objects += "{\"a\":";
    EXPECT_FALSE(test::scan(Pieces{objects}).valid);
}

TEST(JsonScan, KeyLengthIsBounded) {
    const std::string longest(JsonObjectScanner::kMaxKey, 'k');
    EXPECT_TRUE(test::scan(Pieces{"{\"" + longest + "\":1}"}).valid);
    const std::string longer = "{\"" + longest + "k\":1}";
    EXPECT_NE(test::scan(Pieces{longer}).error.find("key too long"), std::string::npos);
    EXPECT_TRUE(test::scan(Pieces{"{\"o\":{\"" + longest + "k\":1}}"}).valid)
        << "keys further in pass through";
}

TEST(JsonScan, AFailureIsForGood) {
    test::Recorder recorder;
    JsonObjectScanner scanner(recorder);
    EXPECT_FALSE(scanner.feed("x"));
    EXPECT_FALSE(scanner.feed("{}"));
    EXPECT_FALSE(scanner.finish());
    EXPECT_EQ(scanner.error(), "not a JSON object at byte 0");
}

TEST(JsonScan, LargeValuesPassThrough) {
    const std::string megabyte(1'000'000, 'x');
    test::Recorder recorder;
    JsonObjectScanner scanner(recorder);
    EXPECT_TRUE(scanner.feed("{\"content\":\""));
    for (int i = 0; i < 10; ++i) {
        EXPECT_TRUE(scanner.feed(megabyte));
        // Everything fed has already been handed on.
        EXPECT_EQ(recorder.members()[0].text.size(), megabyte.size() * static_cast<std::size_t>(i + 1));
    }
    EXPECT_TRUE(scanner.feed("\"}"));
    EXPECT_TRUE(scanner.finish());
    EXPECT_FALSE(recorder.misused());
}

// Against nlohmann: the same texts are valid, and mean the same.
TEST(JsonScan, AgreesWithNlohmann) {
    std::mt19937 random(17);
    const std::vector<std::string> fragments = {"{",
                                                "}",
                                                "[",
                                                "]",
                                                ",",
                                                ":",
                                                "\"a\"",
                                                "\"b\"",
                                                "1",
                                                "-2.5e3",
                                                "true",
                                                "false",
                                                "null",
                                                " ",
                                                "\n",
                                                "\"\"",
                                                "\"é\"",
                                                "\"",
                                                "\\",
                                                "\\n",
                                                "\"\\u0041\"",
                                                "x",
                                                "{}",
                                                "\"c\":1",
                                                ",\"d\":[]",
                                                "[[1],{\"k\":\"v\"}]",
                                                "{\"a\":",
                                                "\"k\":\"v\",",
                                                "\"\\ud83d\\ude00\""};
    int valid = 0;
    for (int round = 0; round < 60'000; ++round) {
        std::string text = test::random_text(random, fragments, 1 + random() % 5);
        if (random() % 2 == 0) text = "{\"a\":" + text + "}";
        const auto reference = nlohmann::json::parse(text, nullptr, false);
        const Scan ours = test::scan(Pieces{text});
        const bool expected = reference.is_object() || reference.is_null();
        ASSERT_EQ(ours.valid, expected) << text << ' ' << ours.error;
        ASSERT_FALSE(ours.misused) << text;
        if (!expected) continue;
        ++valid;
        nlohmann::json rebuilt = nlohmann::json::object();
        for (const Member& member : ours.members) {
            rebuilt[member.key] = member.kind == ValueKind::string ? nlohmann::json(member.text)
                                                                   : nlohmann::json::parse(member.text);
        }
        ASSERT_EQ(rebuilt, reference.is_null() ? nlohmann::json::object() : reference) << text;
    }
    EXPECT_GT(valid, 1000) << "the generator must make texts of both kinds";
}

}  // namespace
}  // namespace sandbox
