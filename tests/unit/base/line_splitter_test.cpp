#include "base/line_splitter.hpp"

#include <gtest/gtest.h>

#include <ostream>

#include "unit/base/feed_ways.hpp"

namespace sandbox {
namespace {

using test::for_every_way;
using test::Pieces;

struct Piece {
    std::string text;
    std::string eol;
    bool partial = false;
    bool operator==(const Piece&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Piece& piece) {
    return out << testing::PrintToString(piece.text) << '+' << testing::PrintToString(piece.eol)
               << (piece.partial ? " partial" : "");
}

using Lines = std::vector<Piece>;

struct Collect {
    Lines* lines;
    void operator()(const LinePiece& piece) const {
        lines->push_back({std::string(piece.text), std::string(piece.eol), piece.partial});
    }
};

Lines split(CrRule rule, std::size_t max_line, const Pieces& pieces) {
    LineSplitter splitter(rule, max_line);
    Lines lines;
    const Collect collect{&lines};
    for (const auto piece : pieces) splitter.feed(piece, collect);
    splitter.finish(collect);
    EXPECT_EQ(splitter.held(), 0u);
    return lines;
}

std::string joined(const Lines& lines) {
    std::string text;
    for (const Piece& piece : lines) text += piece.text + piece.eol;
    return text;
}

void expect_lines(CrRule rule, std::size_t max_line, std::string_view input, const Lines& expected) {
    for_every_way(input, [&](const Pieces& pieces) { EXPECT_EQ(split(rule, max_line, pieces), expected); });
    EXPECT_EQ(joined(expected), input);
}

TEST(LineSplitter, LinesAndTheirEnds) {
    for (const CrRule rule : {CrRule::all, CrRule::one}) {
        expect_lines(rule, 1000, "", {});
        expect_lines(rule, 1000, "a\n\n\nb\n", {{"a", "\n"}, {"", "\n"}, {"", "\n"}, {"b", "\n"}});
        expect_lines(rule, 1000, "a\nb", {{"a", "\n"}, {"b", ""}});
        expect_lines(rule, 1000, "a\r\nb\r", {{"a", "\r\n"}, {"b", "\r"}});
        expect_lines(rule, 1000, "x\ry\n", {{"x\ry", "\n"}});
        expect_lines(rule, 1000, "\r", {{"", "\r"}});
    }
}

TEST(LineSplitter, HowManyCarriageReturnsBelongToTheEnd) {
    expect_lines(CrRule::all, 1000, "a\r\r\r\nb\r\r", {{"a", "\r\r\r\n"}, {"b", "\r\r"}});
    expect_lines(CrRule::one, 1000, "a\r\r\r\nb\r\r", {{"a\r\r", "\r\n"}, {"b\r", "\r"}});
}

TEST(LineSplitter, LongLinesComeInParts) {
    expect_lines(CrRule::all, 4, "abcd\n", {{"abcd", "\n"}});
    expect_lines(CrRule::all, 4, "abcd", {{"abcd", ""}});
    expect_lines(CrRule::all, 4, "abcde\nf\n", {{"abcd", "", true}, {"e", "\n"}, {"f", "\n"}});
    expect_lines(CrRule::all, 4, "abcdefghi", {{"abcd", "", true}, {"efgh", "", true}, {"i", ""}});
    // CRs are no text until something follows them.
    expect_lines(CrRule::all, 4, "abcd\r\r\n", {{"abcd", "\r\r\n"}});
    expect_lines(CrRule::all, 4, "abcd\r\re\r\n", {{"abcd", "", true}, {"\r\re", "\r\n"}});
    expect_lines(CrRule::one, 4, "abcd\r\r\n", {{"abcd", "", true}, {"\r", "\r\n"}});
}

TEST(LineSplitter, NoCharacterIsCut) {
    expect_lines(CrRule::all, 4, "abcéd\n", {{"abc", "", true}, {"éd", "\n"}});
    expect_lines(CrRule::all, 4, "abé\n", {{"abé", "\n"}});
    expect_lines(CrRule::all, 4, "ab€d\n", {{"ab", "", true}, {"€d", "\n"}});
    expect_lines(CrRule::all, 4, "a😀😀\n", {{"a", "", true}, {"😀", "", true}, {"😀", "\n"}});
    // What is no character is cut like anything else.
    expect_lines(CrRule::all, 4, "\x80\x80\x80\x80\x80\n", {{"\x80\x80\x80\x80", "", true}, {"\x80", "\n"}});
    expect_lines(CrRule::all, 4, "abc\xE2x\n", {{"abc\xE2", "", true}, {"x", "\n"}});
}

TEST(LineSplitter, EndlessCarriageReturnsStayBounded) {
    LineSplitter splitter(CrRule::all, 16);
    Lines lines;
    const Collect collect{&lines};
    const std::string crs(100'000, '\r');
    splitter.feed(crs, collect);
    EXPECT_LE(splitter.held(), 5000u);
    splitter.finish(collect);
    EXPECT_EQ(joined(lines), crs);
}

TEST(LineSplitter, FlushSendsTheHeldPieceNow) {
    LineSplitter splitter(CrRule::all, 100);
    Lines lines;
    const Collect collect{&lines};
    EXPECT_FALSE(splitter.flush(collect));
    splitter.feed("a\nPassword: ", collect);
    EXPECT_EQ(splitter.held(), 10u);
    EXPECT_TRUE(splitter.flush(collect));
    EXPECT_FALSE(splitter.flush(collect));
    splitter.feed("ok\r", collect);
    EXPECT_TRUE(splitter.flush(collect));
    EXPECT_EQ(splitter.held(), 1u);
    EXPECT_FALSE(splitter.flush(collect));
    splitter.feed("\n", collect);
    splitter.finish(collect);
    EXPECT_EQ(lines, (Lines{{"a", "\n"}, {"Password: ", "", true}, {"ok", "", true}, {"", "\r\n"}}));
}

TEST(LineSplitter, FlushDoesNotCutACharacter) {
    LineSplitter splitter(CrRule::all, 100);
    Lines lines;
    const Collect collect{&lines};
    splitter.feed("a\xF0\x9F\x98", collect);
    EXPECT_TRUE(splitter.flush(collect));
    EXPECT_FALSE(splitter.flush(collect));
    splitter.feed("\x80", collect);
    EXPECT_TRUE(splitter.flush(collect));
    splitter.finish(collect);
    EXPECT_EQ(lines, (Lines{{"a", "", true}, {"😀", "", true}, {"", ""}}));
}

TEST(LineSplitter, UsableAgainAfterFinish) {
    LineSplitter splitter(CrRule::one);
    Lines lines;
    const Collect collect{&lines};
    splitter.feed("a", collect);
    splitter.finish(collect);
    splitter.finish(collect);
    splitter.feed("b", collect);
    splitter.finish(collect);
    EXPECT_EQ(lines, (Lines{{"a", ""}, {"b", ""}}));
}

// Whatever the cuts and flushes: nothing is lost, and every line has exactly one piece that is not partial.
TEST(LineSplitter, RandomTextIsAllThere) {
    std::mt19937 random(3);
    const std::vector<std::string> fragments = {"a", "bc",   "\n",   "\r",   "\r\n",      "é",
                                                "😀", "\xF0", "\x9F", "\r\r", "0123456789"};
    for (int round = 0; round < 300; ++round) {
        const std::string input = test::random_text(random, fragments, 40);
        for (const CrRule rule : {CrRule::all, CrRule::one}) {
            for (const std::size_t max_line : {std::size_t{4}, std::size_t{7}, std::size_t{1000}}) {
                const Lines whole = split(rule, max_line, {input});
                LineSplitter splitter(rule, max_line);
                Lines flushed;
                Lines cut;
                LineSplitter cutter(rule, max_line);
                std::string_view rest = input;
                while (!rest.empty()) {
                    const std::string_view piece = rest.substr(0, random() % 9);
                    rest.remove_prefix(piece.size());
                    cutter.feed(piece, Collect{&cut});
                    splitter.feed(piece, Collect{&flushed});
                    if (random() % 4 == 0) splitter.flush(Collect{&flushed});
                }
                cutter.finish(Collect{&cut});
                splitter.finish(Collect{&flushed});
                EXPECT_EQ(cut, whole);
                EXPECT_EQ(joined(whole), input);
                EXPECT_EQ(joined(flushed), input);
                for (const Lines& lines : {whole, flushed}) {
                    for (const Piece& piece : lines) {
                        EXPECT_LE(piece.text.size(), max_line);
                        EXPECT_EQ(piece.text.find('\n'), std::string::npos);
                        EXPECT_TRUE(!piece.partial || piece.eol.empty());
                    }
                    EXPECT_TRUE(lines.empty() || !lines.back().partial);
                }
            }
        }
    }
}

}  // namespace
}  // namespace sandbox
