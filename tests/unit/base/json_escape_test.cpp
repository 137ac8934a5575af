#include "base/json_escape.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "unit/base/feed_ways.hpp"

namespace sandbox {
namespace {

using test::for_every_way;
using test::Pieces;
using namespace std::string_literals;

std::string escape(JsonCharset charset, const Pieces& pieces) {
    JsonEscaper escaper(charset);
    std::string out;
    for (const auto piece : pieces) escaper.append(out, piece);
    escaper.finish(out);
    return out;
}

struct Case {
    std::string bytes;
    std::string utf8;
    std::string ascii;
};

const std::vector<Case>& cases() {
    static const std::vector<Case> all = {
        {"", "", ""},
        {"plain text, longer than one vector of sixteen", "plain text, longer than one vector of sixteen",
         "plain text, longer than one vector of sixteen"},
        {"\"\\/\b\f\n\r\t", R"(\"\\/\b\f\n\r\t)", R"(\"\\/\b\f\n\r\t)"},
        {"\0\1\x1f\x7f"s, "\\u0000\\u0001\\u001f\x7f", "\\u0000\\u0001\\u001f\x7f"},
        {"<a&b>", R"(\u003ca\u0026b\u003e)", R"(\u003ca\u0026b\u003e)"},
        {"é€😀", "é€😀", R"(\u00e9\u20ac\ud83d\ude00)"},
        {"\u0085\u2027\u2028\u2029\u202a", "\\u0085\u2027\\u2028\\u2029\u202a",
         R"(\u0085\u2027\u2028\u2029\u202a)"},
        {"\uFFFD\U0010FFFF", "\uFFFD\U0010FFFF", R"(\ufffd\udbff\udfff)"},
        // One error a byte: a sequence cut off, overlong, a surrogate, past U+10FFFF, a lone continuation.
        {"\xF1\x80\x80"s + "A", R"(\ufffd\ufffd\ufffdA)", R"(\ufffd\ufffd\ufffdA)"},
        {"\xC0\x80", R"(\ufffd\ufffd)", R"(\ufffd\ufffd)"},
        {"\xED\xA0\x80", R"(\ufffd\ufffd\ufffd)", R"(\ufffd\ufffd\ufffd)"},
        {"\xF4\x90\x80\x80", R"(\ufffd\ufffd\ufffd\ufffd)", R"(\ufffd\ufffd\ufffd\ufffd)"},
        {"a\x80z", R"(a\ufffdz)", R"(a\ufffdz)"},
        {"\xE2\x82", R"(\ufffd\ufffd)", R"(\ufffd\ufffd)"},
        {"\xE2\xE2\x82\xAC", "\\ufffd€", R"(\ufffd\u20ac)"},
        {"\xF0\x9F\"", R"(\ufffd\ufffd\")", R"(\ufffd\ufffd\")"},
        {"\xF0\x9F\xC3\xA9", "\\ufffd\\ufffdé", R"(\ufffd\ufffd\u00e9)"},
    };
    return all;
}

TEST(JsonEscape, EveryWayOfFeeding) {
    for (const Case& c : cases()) {
        for_every_way(c.bytes, [&](const Pieces& pieces) {
            EXPECT_EQ(escape(JsonCharset::utf8, pieces), c.utf8);
            EXPECT_EQ(escape(JsonCharset::ascii, pieces), c.ascii);
        });
    }
}

// The special byte at every place of the vectorised scan, and nothing special at every length.
TEST(JsonEscape, EveryOffset) {
    for (std::size_t size = 0; size < 70; ++size) {
        const std::string plain(size, 'x');
        EXPECT_EQ(escape(JsonCharset::utf8, {plain}), plain);
        for (std::size_t at = 0; at < size; ++at) {
            std::string text = plain;
            text[at] = '\n';
            EXPECT_EQ(escape(JsonCharset::utf8, {text}), plain.substr(0, at) + "\\n" + plain.substr(at + 1));
        }
    }
}

TEST(JsonEscape, EveryByteValue) {
    for (unsigned c = 0; c < 0x80; ++c) {
        // Sixteen of it, so that the vector path sees each value as well.
        const std::string text(16, static_cast<char>(c));
        const std::string json = '"' + escape(JsonCharset::utf8, {text}) + '"';
        EXPECT_EQ(nlohmann::json::parse(json).get<std::string>(), text) << c;
        for (const char out : json) EXPECT_GE(out, 0x20);
        for (const char never : {'<', '>', '&'}) EXPECT_EQ(json.find(never), std::string::npos);
    }
}

TEST(JsonEscape, RandomTextReadsBack) {
    std::mt19937 random(7);
    const std::vector<std::string> fragments = {
        "a",    "plain words ",      "\n", "\"", "é", "€", "😀", "\u2028", "\u0085", "<", "\0"s,
        "\x7f", std::string(40, 'k')};
    for (int round = 0; round < 200; ++round) {
        const std::string text = test::random_text(random, fragments, 30);
        for (const JsonCharset charset : {JsonCharset::utf8, JsonCharset::ascii}) {
            const std::string json = '"' + escape(charset, {text}) + '"';
            EXPECT_EQ(nlohmann::json::parse(json).get<std::string>(), text);
            if (charset == JsonCharset::ascii) {
                for (const char c : json) EXPECT_GE(c, 0);
            }
        }
    }
}

TEST(JsonEscape, RandomBytesDoNotDependOnTheCuts) {
    std::mt19937 random(8);
    const std::vector<std::string> fragments = {"\xF0", "\x9F", "\x98", "\x80", "\xE2",
                                                "\x80", "\xA8", "\xC2", "\x85", "\xED",
                                                "\xA0", "\xF4", "\xFF", "a",    "\""};
    for (int round = 0; round < 100; ++round) {
        const std::string text = test::random_text(random, fragments, 24);
        for (const JsonCharset charset : {JsonCharset::utf8, JsonCharset::ascii}) {
            const std::string whole = escape(charset, {text});
            EXPECT_TRUE(nlohmann::json::accept('"' + whole + '"'));
            for_every_way(text, [&](const Pieces& pieces) { EXPECT_EQ(escape(charset, pieces), whole); });
        }
    }
}

TEST(JsonEscape, UsableAgainAfterFinish) {
    JsonEscaper escaper(JsonCharset::utf8);
    std::string out;
    escaper.append(out, "\xE2\x82");
    escaper.finish(out);
    escaper.append(out, "\xAC");
    escaper.finish(out);
    escaper.finish(out);
    EXPECT_EQ(out, R"(\ufffd\ufffd\ufffd)");
}

TEST(JsonEscape, WholeStringHasQuotes) {
    std::string out = "x:";
    append_json_string(out, "a\"b");
    EXPECT_EQ(out, R"(x:"a\"b")");
    append_json_string(out, "é", JsonCharset::ascii);
    EXPECT_EQ(out, R"(x:"a\"b""\u00e9")");
}

}  // namespace
}  // namespace sandbox
