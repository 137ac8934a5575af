#include "e2b/multipart.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sandbox::e2b {
namespace {

using Event = MultipartReader::Event;

struct Part {
    std::string name;
    std::string filename;
    std::string content;
    bool operator==(const Part&) const = default;
};

struct Outcome {
    std::vector<Part> parts;
    bool ended = false;
    bool failed = false;
};

Outcome read(std::string_view body, std::string_view boundary, std::size_t step) {
    Outcome outcome;
    MultipartReader reader(boundary);
    while (!body.empty() && !outcome.failed) {
        reader.feed(body.substr(0, step));
        body.remove_prefix(std::min(step, body.size()));
        for (bool more = true; more && !outcome.ended;) {
            Result<Event> event = reader.next();
            if (!event) {
                outcome.failed = true;
                break;
            }
            if (*event == Event::need_more) more = false;
            if (*event == Event::end) outcome.ended = true;
            if (*event == Event::part)
                outcome.parts.push_back({reader.head().name, reader.head().filename.value_or("-"), ""});
            if (*event == Event::data) {
                EXPECT_FALSE(reader.data().empty());
                outcome.parts.back().content += reader.data();
            }
        }
    }
    return outcome;
}

// The same whole and cut into pieces of every size.
Outcome read_every_way(std::string_view body, std::string_view boundary = "b") {
    Outcome whole = read(body, boundary, body.size() + 1);
    for (std::size_t step = 1; step <= std::min<std::size_t>(body.size(), 64); ++step) {
        Outcome cut = read(body, boundary, step);
        EXPECT_EQ(cut.parts, whole.parts) << "in pieces of " << step;
        EXPECT_EQ(cut.ended, whole.ended) << "in pieces of " << step;
        EXPECT_EQ(cut.failed, whole.failed) << "in pieces of " << step;
    }
    return whole;
}

std::string part(std::string_view disposition, std::string_view content) {
    std::string text = "--b\r\nContent-Disposition: form-data; ";
    return text.append(disposition).append("\r\n\r\n").append(content).append("\r\n");
}

TEST(MultipartTest, AsNodeSendsIt) {
    std::string boundary = "----formdata-undici-067619341184";
    std::string body = "--" + boundary +
                       "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n"
                       "Content-Type: application/octet-stream\r\n\r\ndata\r\n--" +
                       boundary + "--\r\n";
    Outcome outcome = read_every_way(body, boundary);
    EXPECT_EQ(outcome.parts, (std::vector<Part>{{"file", "a.txt", "data"}}));
    EXPECT_TRUE(outcome.ended);
}

TEST(MultipartTest, SeveralPartsEmptyOnesAmongThem) {
    std::string body = part("name=file; filename=x/one", "1") + part("name=file; filename=empty", "") +
                       part("name=other", "o") + "--b--";
    EXPECT_EQ(read_every_way(body).parts,
              (std::vector<Part>{{"file", "x/one", "1"}, {"file", "empty", ""}, {"other", "-", "o"}}));
}

TEST(MultipartTest, ContentThatLooksLikeABoundary) {
    for (std::string content : {"\r\n--", "\r\n--bx", "a\r\n-", "\r\n\r\n", "\r\n--a\r\n", "\r", "\r\n",
                                "\r\r\n--bb", "x\r\n--b_\r\n"}) {
        Outcome outcome = read_every_way(part("name=file", content) + "--b--\r\n");
        ASSERT_EQ(outcome.parts.size(), 1U) << content;
        EXPECT_EQ(outcome.parts[0].content, content);
        EXPECT_TRUE(outcome.ended);
    }
}

// A part that is told to have ended is stored: so not before its boundary is known to be one.
TEST(MultipartTest, APartEndsWithItsWholeBoundary) {
    for (const std::string body :
         {"--b\r\n\r\ntext\r\n--b-x", "--b\r\n\r\ntext\r\n--b\rx", "--b\r\n\r\ntext\r\n--b-",
          "--b\r\n\r\ntext\r\n--b\r", "--b\r\n\r\ntext\r\n--b \tx"}) {
        MultipartReader reader("b");
        for (const char c : body) {
            reader.feed(std::string_view(&c, 1));
            for (;;) {
                const Result<Event> event = reader.next();
                if (event) {
                    ASSERT_NE(*event, Event::part_end) << body;
                }
                if (!event || *event == Event::need_more) break;
            }
        }
    }
    EXPECT_TRUE(read_every_way("--b\r\n\r\ntext\r\n--b-x").failed);
}

// The line break behind the head belongs to the boundary then: a part without a body (RFC 2046, 5.1.1).
TEST(MultipartTest, ABoundaryRightBehindTheHead) {
    Outcome outcome = read_every_way("--b\r\nContent-Disposition: form-data; name=f\r\n\r\n--b--");
    EXPECT_EQ(outcome.parts, (std::vector<Part>{{"f", "-", ""}}));
    EXPECT_TRUE(outcome.ended);
}

TEST(MultipartTest, PreambleEpilogueAndPadding) {
    std::string body =
        "ignored\r\n--b \t\r\nContent-Disposition: form-data; name=f\r\n\r\nx\r\n--b--\r\nignored";
    Outcome outcome = read_every_way(body);
    EXPECT_EQ(outcome.parts, (std::vector<Part>{{"f", "-", "x"}}));
    EXPECT_TRUE(outcome.ended);
}

TEST(MultipartTest, NamesWithEscapes) {
    Outcome outcome = read_every_way(part(R"(name="fi\"le"; filename="a\\b\n%22;c")", "x") + "--b--");
    EXPECT_EQ(outcome.parts[0].name, "fi\"le");
    EXPECT_EQ(outcome.parts[0].filename, "a\\b\\n%22;c");
    outcome = read_every_way(part("name=f; filename=\"plain\"; filename*=UTF-8''%C3%BC%20x", "x") + "--b--");
    EXPECT_EQ(outcome.parts[0].filename, "ü x");
}

TEST(MultipartTest, APartWithoutHead) {
    EXPECT_EQ(read_every_way("--b\r\n\r\nx\r\n--b--").parts, (std::vector<Part>{{"", "-", "x"}}));
}

TEST(MultipartTest, WhatIsCutOffOrMalformed) {
    EXPECT_FALSE(read_every_way(part("name=f", "x")).ended);
    EXPECT_FALSE(read_every_way(part("name=f", "x") + "--b").ended);
    EXPECT_TRUE(read_every_way("--b-x").failed);
    EXPECT_TRUE(read_every_way("--b \tx\r\n").failed);
    EXPECT_TRUE(read("--b\r\nX: " + std::string(MultipartReader::kMaxHead, 'x'), "b", 1024).failed);
}

}  // namespace
}  // namespace sandbox::e2b
