#include "koyeb/sse_writer.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "support/loop_fixture.hpp"

namespace sandbox::koyeb {
namespace {

using std::chrono::milliseconds;

// An answer whose writes are kept, and wait while the gate is shut.
class FakeExchange final : public net::Exchange {
  public:
    explicit FakeExchange(Loop& loop) : gate_(loop) {}

    const net::Request& request() const override { return request_; }
    Task<Result<std::string_view>> read_body() override { co_return std::string_view(); }
    void limit_body(std::uint64_t) override {}
    void wait_for_body() override {}
    Task<bool> respond(int, std::string_view, std::string, net::HeaderList) override { co_return false; }
    Task<bool> begin(int status, std::string_view content_type, net::HeaderList headers,
                     std::optional<std::uint64_t>) override {
        head = std::to_string(status) + " " + std::string(content_type);
        for (const net::Header& header : headers) {
            head += "|" + std::string(header.name) + ": " + std::string(header.value);
        }
        co_return !gone;
    }
    Task<bool> write(std::string_view bytes) override {
        EXPECT_FALSE(in_write_) << "two writes at once";
        in_write_ = true;
        while (shut) co_await gate_.wait();
        in_write_ = false;
        writes.emplace_back(bytes);
        co_return !gone;
    }
    Task<bool> write_file(BlockingPool&, int, std::uint64_t, std::uint64_t) override { co_return false; }
    Task<bool> finish() override {
        ++finished;
        co_return !gone;
    }
    void abort() override {}
    bool answered() const override { return !head.empty(); }
    bool peer_gone() const override { return gone; }
    void watch_disconnect(std::function<void()>) override {}

    void open() {
        shut = false;
        gate_.notify();
    }
    std::string text() const {
        std::string all;
        for (const std::string& write : writes) all += write;
        return all;
    }

    std::string head;
    std::vector<std::string> writes;
    bool shut = false;
    bool gone = false;
    int finished = 0;

  private:
    net::Request request_;
    Event gate_;
    bool in_write_ = false;
};

class SseTest : public test::LoopTest {
  protected:
    std::shared_ptr<SseSink> sink(SseSink::Options options = {}) {
        return std::make_shared<SseSink>(writer_, loop_, options);
    }
    void finish() { run(writer_.finish()); }

    // All events of an output that came in these pieces.
    std::string events(const std::vector<std::string>& pieces) {
        FakeExchange exchange(loop_);
        SseWriter writer(exchange, loop_);
        auto lines = std::make_shared<SseSink>(writer, loop_, SseSink::Options{});
        for (const std::string& piece : pieces) run(lines->on_output(StreamId::stdout_, piece));
        run(lines->on_end(StreamId::stdout_));
        lines->finish();
        run(writer.finish());
        return exchange.text();
    }

    FakeExchange exchange_{loop_};
    SseWriter writer_{exchange_, loop_};
};

std::string event(const std::string& json_text, const std::string& more = "") {
    return "event: output\ndata: {\"data\":\"" + json_text + "\",\"stream\":\"stdout\"" + more + "}\n\n";
}

TEST_F(SseTest, TheHeadLeavesAtOnce) {
    EXPECT_TRUE(run(writer_.begin()));
    EXPECT_EQ(exchange_.head, "200 text/event-stream|Cache-Control: no-cache|X-Accel-Buffering: no");
    EXPECT_TRUE(exchange_.writes.empty());
    finish();
    EXPECT_EQ(exchange_.finished, 1);
}

TEST_F(SseTest, LinesAndTheirEnds) {
    EXPECT_EQ(events({"a\n\n\nb\n"}), event("a") + event("") + event("") + event("b"));
    EXPECT_EQ(events({"no newline"}), event("no newline", ",\"eol\":\"\""));
    EXPECT_EQ(events({"a\r\n"}), event("a", ",\"eol\":\"\\r\\n\""));
    EXPECT_EQ(events({"a\r\r\r\n"}), event("a", ",\"eol\":\"\\r\\r\\r\\n\""));
    EXPECT_EQ(events({"b\r"}), event("b", ",\"eol\":\"\\r\""));
    EXPECT_EQ(events({"x\ry\n"}), event("x\\ry"));
    EXPECT_EQ(events({""}), "");
    EXPECT_EQ(events({}), "");
}

TEST_F(SseTest, EverythingIsAscii) {
    // What would end a line for a client that splits at every Unicode boundary, and what cuts a character in
    // two.
    EXPECT_EQ(events({"\xc3\xa9 \xe2\x80\xa8 \xc2\x85 \xf0\x9f\x98\x80 \x0b\x0c\x1c \"\\\n"}),
              event("\\u00e9 \\u2028 \\u0085 \\ud83d\\ude00 \\u000b\\f\\u001c \\\"\\\\"));
    EXPECT_EQ(events({"\xc3", "\xa9\n"}), event("\\u00e9"));
    EXPECT_EQ(events({"a\xff\xc3\n"}), event("a\\ufffd\\ufffd"));
    for (char c : events({"\xe2\x82\xac\x80\xff\x7f\n"})) EXPECT_LT(static_cast<unsigned char>(c), 0x80);
}

TEST_F(SseTest, EventsDoNotDependOnHowTheOutputWasCut) {
    const std::string text = "one\r\n\xe2\x82\xac two\n\n\rthree\xff\xe2\x82\nlast";
    const std::string whole = events({text});
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        ASSERT_EQ(events({text.substr(0, cut), text.substr(cut)}), whole) << cut;
    }
    std::vector<std::string> bytes;
    for (char c : text) bytes.emplace_back(1, c);
    EXPECT_EQ(events(bytes), whole);
}

TEST_F(SseTest, VeryLongLinesGoOnInFurtherEvents) {
    constexpr std::size_t kMebi = 1024 * 1024;
    const std::string text = std::string(2 * kMebi + 5, 'x') + "\n";
    const std::string part(kMebi, 'x');
    EXPECT_EQ(events({text}),
              event(part, ",\"partial\":true") + event(part, ",\"partial\":true") + event("xxxxx"));
}

TEST_F(SseTest, StreamsAreToldApartAndHeldApart) {
    auto lines = sink();
    run(lines->on_output(StreamId::stdout_, "out"));
    run(lines->on_output(StreamId::stderr_, "err\n"));
    run(lines->on_output(StreamId::stdout_, "put\n"));
    EXPECT_EQ(exchange_.text(),
              "event: output\ndata: {\"data\":\"err\",\"stream\":\"stderr\"}\n\n" + event("output"));
    finish();
}

TEST_F(SseTest, ATerminalIsCalledSo) {
    SseSink::Options options;
    options.flush = milliseconds(20);
    auto lines = sink(options);
    auto pty = [](const std::string& text, const std::string& more) {
        return "event: output\ndata: {\"data\":\"" + text + "\",\"stream\":\"pty\"" + more + "}\n\n";
    };
    run(lines->on_output(StreamId::pty, "a\r\nheld"));
    drive_until([&] { return exchange_.writes.size() == 2; });
    run(lines->on_output(StreamId::pty, "last"));
    lines->stop();
    lines->finish();
    finish();
    EXPECT_EQ(exchange_.text(), pty("a", ",\"eol\":\"\\r\\n\"") + pty("held", ",\"partial\":true") +
                                    pty("last", ",\"eol\":\"\""));
}

TEST_F(SseTest, RawChunks) {
    SseSink::Options options;
    options.base64 = true;
    auto raw = sink(options);
    run(raw->on_output(StreamId::stdout_, std::string("\0\n\xff", 3)));
    run(raw->on_output(StreamId::stderr_, "a"));
    run(raw->on_end(StreamId::stdout_));
    EXPECT_EQ(exchange_.text(),
              "event: output\ndata: {\"data\":\"AAr/\",\"stream\":\"stdout\",\"encoding\":\"base64\"}\n\n"
              "event: output\ndata: {\"data\":\"YQ==\",\"stream\":\"stderr\",\"encoding\":\"base64\"}\n\n");
    finish();
}

TEST_F(SseTest, AHeldPieceIsSentAfterTheTimeThatWasAskedFor) {
    SseSink::Options options;
    options.flush = milliseconds(30);
    auto lines = sink(options);
    run(lines->on_output(StreamId::stdout_, "50%"));
    EXPECT_TRUE(exchange_.writes.empty());
    drive_until([&] { return !exchange_.writes.empty(); });
    EXPECT_EQ(exchange_.text(), event("50%", ",\"partial\":true"));
    run(lines->on_output(StreamId::stdout_, "100%\nnext"));
    EXPECT_EQ(exchange_.text(), event("50%", ",\"partial\":true") + event("100%"));
    run(lines->on_end(StreamId::stdout_));
    lines->finish();
    lines->stop();
    finish();
    drive_for(milliseconds(60));
    EXPECT_EQ(exchange_.text(),
              event("50%", ",\"partial\":true") + event("100%") + event("next", ",\"eol\":\"\""));
}

TEST_F(SseTest, WithoutThatNothingIsSentBeforeTheNewline) {
    auto lines = sink();
    run(lines->on_output(StreamId::stdout_, "held"));
    drive_for(milliseconds(50));
    EXPECT_TRUE(exchange_.writes.empty());
    run(lines->on_end(StreamId::stdout_));
    EXPECT_EQ(exchange_.text(), event("held", ",\"eol\":\"\""));
    finish();
}

TEST_F(SseTest, EventsGatherWhileOneIsBeingWritten) {
    exchange_.shut = true;
    auto lines = sink();
    int done = 0;
    for (int i = 0; i < 5; ++i) {
        spawn_task(loop_, "output",
                   lines->on_output(StreamId::stdout_, i == 0   ? "0\n"
                                                       : i == 1 ? "1\n"
                                                                : "n\n"),
                   [&] { ++done; });
    }
    drive_for(milliseconds(20));
    EXPECT_EQ(done, 0) << "the back-pressure";
    exchange_.open();
    drive_until([&] { return done == 5; });
    ASSERT_EQ(exchange_.writes.size(), 2U);
    EXPECT_EQ(exchange_.writes[0], event("0"));
    EXPECT_EQ(exchange_.writes[1], event("1") + event("n") + event("n") + event("n"));
    finish();
}

TEST_F(SseTest, FinishSendsWhatIsLeftAndWaitsForIt) {
    exchange_.shut = true;
    writer_.buffer() += "first";
    writer_.flush_later();
    drive_for(milliseconds(10));
    writer_.buffer() += "second";
    writer_.flush_later();
    std::optional<bool> finished;
    spawn_task(loop_, "finish", test::keep_result(writer_.finish(), &finished));
    drive_for(milliseconds(20));
    EXPECT_FALSE(finished);
    EXPECT_EQ(exchange_.finished, 0);
    exchange_.open();
    drive_until([&] { return finished.has_value(); });
    EXPECT_TRUE(*finished);
    EXPECT_EQ(exchange_.text(), "firstsecond");
    EXPECT_EQ(exchange_.finished, 1);
}

TEST_F(SseTest, APeerThatIsGoneIsTold) {
    exchange_.gone = true;
    EXPECT_FALSE(run(writer_.begin()));
    EXPECT_FALSE(run(writer_.flush()));
    writer_.buffer() += "x";
    EXPECT_FALSE(run(writer_.flush()));
    EXPECT_FALSE(run(writer_.finish()));
}

TEST_F(SseTest, KeepAliveCommentsComeWhenNothingElseDoes) {
    writer_.keep_alive(milliseconds(30));
    drive_until([&] { return exchange_.writes.size() == 2; });
    EXPECT_EQ(exchange_.text(), ": keepalive\n\n: keepalive\n\n");
    // With something sent more often than that there is none.
    exchange_.writes.clear();
    writer_.keep_alive(milliseconds(1000));
    for (int i = 0; i < 30; ++i) {
        writer_.buffer() += "e";
        run(writer_.flush());
        drive_for(milliseconds(40));
    }
    EXPECT_EQ(exchange_.text(), std::string(30, 'e'));
    exchange_.writes.clear();
    writer_.keep_alive(milliseconds(20));
    finish();
    drive_for(milliseconds(80));
    EXPECT_TRUE(exchange_.writes.empty()) << "nothing after the end";
}

}  // namespace
}  // namespace sandbox::koyeb
