// The forwarder, cut on either side of it at every byte. What arrives is what was sent up to the cut, ends
// are carried over as they are, and nothing stays.

#include <gtest/gtest.h>

#include "census.hpp"
#include "cutter.hpp"
#include "proxy/pipe_pool.hpp"

namespace sandbox::chaos {
namespace {

const std::string kQuestion = "a question of some length, ended by the end of the stream\n";
const std::string kAnswer = "an answer, which comes when the question has been read to its end\n";

class ForwarderCutTest : public testing::Test {
  protected:
    ForwarderCutTest() {
        bind(target_.port());
        // Caches fill.
        for (std::size_t at = 0; at < kQuestion.size(); at += 7) cut_question(Fault::reset, at);
        ask("POST /unbind_port", "{}");
        before_ = Census::of(daemon_);
        bind(target_.port());
    }
    ~ForwarderCutTest() override {
        expect_no_more_than_before(proxy::kIdlePipes);
        EXPECT_NE(ask("GET /metrics").find("\nsandbox_forwarder_connections 0\n"), std::string::npos);
        // It lets idle pipes go: what is left then has been lost.
        ask("POST /unbind_port", "{}");
        expect_no_more_than_before(0);
        const Census after = Census::of(daemon_);
        std::printf("%zu cuts; RSS %zu -> %zu KiB\n", cuts_, before_.rss_kib, after.rss_kib);
        if (!is_slow()) {
            EXPECT_LE(after.rss_kib, before_.rss_kib + 8 * 1024);
        }
    }

    void expect_no_more_than_before(std::size_t idle_pipes) const {
        std::string excess;
        EXPECT_TRUE(comes_to_pass([&] {
            return (excess = Census::of(daemon_).excess_over(before_, idle_pipes)).empty();
        })) << excess;
    }

    std::string ask(const std::string& what, const std::string& body = {}) {
        const Line line = Line::connect(daemon_.port());
        line.send(what +
                  " HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer s\r\nContent-Length: " +
                  std::to_string(body.size()) + "\r\n\r\n" + body);
        std::string answer;
        line.receive_all(answer);
        return answer;
    }
    void bind(int port) {
        const std::string answer = ask("POST /bind_port", R"({"port":")" + std::to_string(port) + "\"}");
        ASSERT_NE(answer.find("\"success\":true"), std::string::npos) << answer;
    }

    // A client and a target that are connected through the forwarder.
    struct Pair {
        Line client;
        Line target;
    };
    Pair connect(int window = 0) {
        Pair pair;
        pair.client = Line::connect(daemon_.proxy_port(), window);
        pair.target = target_.accept();
        EXPECT_TRUE(pair.client && pair.target);
        ++cuts_;
        return pair;
    }
    static void expect_rest(const Line& line, const std::string& wanted, Line::End how) {
        std::string got;
        EXPECT_EQ(static_cast<int>(line.receive_all(got)), static_cast<int>(how))
            << got.size() << " bytes came";
        EXPECT_EQ(got, wanted);
    }
    // A reset may overtake bytes on their way.
    static void expect_reset(const Line& line, const std::string& sent) {
        std::string got;
        EXPECT_EQ(static_cast<int>(line.receive_all(got)), static_cast<int>(Line::End::reset));
        EXPECT_TRUE(sent.starts_with(got)) << got;
    }
    static void apply(Fault fault, Line& line) {
        if (fault == Fault::close) line.close();
        if (fault == Fault::reset) line.reset();
        if (fault == Fault::half_close) line.half_close();
    }
    static std::string receive(const Line& line, std::size_t size) {
        std::string got;
        while (got.size() < size && line.receive(got, size - got.size()) == Line::End::none) continue;
        return got;
    }

    // `from` sends the first bytes of `text` to `to`, and is cut.
    void cut(Line& from, Line& to, const std::string& text, Fault fault, std::size_t at) {
        SCOPED_TRACE("at byte " + std::to_string(at) + ", fault " + std::to_string(static_cast<int>(fault)));
        const std::string sent = text.substr(0, at);
        EXPECT_TRUE(from.send(sent));
        if (fault == Fault::pause) {
            EXPECT_EQ(receive(to, at), sent);
            EXPECT_TRUE(from.send(text.substr(at)));
            from.half_close();
            return expect_rest(to, text.substr(at), Line::End::orderly);
        }
        apply(fault, from);
        if (fault == Fault::reset) {
            expect_reset(to, sent);
        } else {
            expect_rest(to, sent, Line::End::orderly);
        }
    }
    void cut_question(Fault fault, std::size_t at) {
        Pair pair = connect();
        cut(pair.client, pair.target, kQuestion, fault, at);
        if (fault != Fault::half_close && fault != Fault::pause) return;
        // The other direction is untouched.
        EXPECT_TRUE(pair.target.send(kAnswer));
        pair.target.close();
        expect_rest(pair.client, kAnswer, Line::End::orderly);
    }
    void cut_answer(Fault fault, std::size_t at) {
        Pair pair = connect();
        EXPECT_TRUE(pair.client.trickle(kQuestion));
        pair.client.half_close();
        expect_rest(pair.target, kQuestion, Line::End::orderly);
        cut(pair.target, pair.client, kAnswer, fault, at);
    }

    e2e::Daemon daemon_{{{"SANDBOX_SECRET", "s"}}};
    Listener target_;
    Census before_;
    std::size_t cuts_ = 0;
};

TEST_F(ForwarderCutTest, EveryByteOfBothDirections) {
    for (const Fault fault : {Fault::close, Fault::reset, Fault::half_close, Fault::pause}) {
        for (std::size_t at = 0; at <= kQuestion.size() && !HasFailure(); ++at) cut_question(fault, at);
        for (std::size_t at = 0; at <= kAnswer.size() && !HasFailure(); ++at) cut_answer(fault, at);
    }
}

// More than all buffers on the way hold: the kernel may let those of the forwarder grow to net.ipv4.tcp_rmem
// and tcp_wmem, which are some tens of megabytes.
constexpr std::size_t kMostUnderWay = 1U << 30U;

// Sends `text` again and again, until there has been no room for 300 ms; how many bytes went.
std::size_t fill(const Line& from, std::string_view text) {
    std::size_t sent = 0;
    while (sent < kMostUnderWay) {
        pollfd room{from.fd(), POLLOUT, 0};
        if (::poll(&room, 1, 300) != 1) break;
        const std::string_view next = text.substr(sent % text.size(), 65536);
        const ssize_t count = ::send(from.fd(), next.data(), next.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0 && errno == EAGAIN) continue;
        if (count <= 0) break;
        sent += static_cast<std::size_t>(count);
    }
    return sent;
}

// What fill() has sent comes, to its end or, where a reset overtakes it, up to some byte.
void expect_filled(const Line& to, std::string_view text, std::size_t sent, bool reset) {
    std::string got;
    EXPECT_EQ(static_cast<int>(to.receive_all(got)),
              static_cast<int>(reset ? Line::End::reset : Line::End::orderly));
    if (reset) {
        EXPECT_LE(got.size(), sent);
    } else {
        EXPECT_EQ(got.size(), sent);
    }
    for (std::size_t at = 0; at < got.size(); at += text.size()) {
        const std::string_view piece = std::string_view(got).substr(at, text.size());
        ASSERT_TRUE(text.starts_with(piece)) << "other bytes behind byte " << at;
    }
}

// With more under way than buffers hold: what was taken before an orderly end arrives.
TEST_F(ForwarderCutTest, WhileTheReaderStands) {
    const std::string text = e2e::random_bytes(1U << 20U) + "not a power of two";
    for (const bool to_client : {false, true}) {
        for (const Fault fault : {Fault::close, Fault::half_close, Fault::reset}) {
            Pair pair = connect(16 * 1024);
            Line& from = to_client ? pair.target : pair.client;
            Line& to = to_client ? pair.client : pair.target;
            const std::size_t sent = fill(from, text);
            ASSERT_LT(sent, kMostUnderWay) << "the reader does not stand";
            apply(fault, from);
            expect_filled(to, text, sent, fault == Fault::reset);
        }
    }
}

// Another binding ends the relays of the old one; whoever would miss bytes learns it by a reset.
TEST_F(ForwarderCutTest, UnboundInBetween) {
    for (std::size_t at = 0; at <= kQuestion.size(); at += 5) {
        Pair pair = connect();
        EXPECT_TRUE(pair.client.send(kQuestion.substr(0, at)));
        EXPECT_EQ(receive(pair.target, at), kQuestion.substr(0, at));
        ask("POST /unbind_port", "{}");
        std::string nothing;
        EXPECT_NE(static_cast<int>(pair.client.receive_all(nothing)), static_cast<int>(Line::End::silence));
        EXPECT_NE(static_cast<int>(pair.target.receive_all(nothing)), static_cast<int>(Line::End::silence));
        EXPECT_EQ(nothing, "");
        // Nobody is bound: whoever sends is closed.
        const Line unbound = Line::connect(daemon_.proxy_port());
        unbound.send(kQuestion.substr(0, at));
        EXPECT_NE(static_cast<int>(unbound.receive_all(nothing)), static_cast<int>(Line::End::silence));
        bind(target_.port());
    }
}

}  // namespace
}  // namespace sandbox::chaos
