// The connections of both dialects, cut at every byte of an exchange for every route, in both directions.
// What was not sent whole has not been done, what was answered whole is true, and afterwards the daemon has
// what it had before.

#include <gtest/gtest.h>

#include "census.hpp"
#include "cutter.hpp"
#include "exchanges.hpp"

namespace sandbox::chaos {
namespace {

int envd_port_of(const e2e::Daemon& daemon) {
    int port = 0;
    comes_to_pass([&] {
        const std::string log = daemon.log();
        std::size_t at = log.find("Starting envd API");
        if (at == std::string::npos) return false;
        at = log.find("port=", at);
        port = std::atoi(log.c_str() + at + 5);
        return port != 0;
    });
    return port;
}

class CutTest : public testing::Test {
  protected:
    CutTest() {
        daemon_.emplace(
            e2e::Variables{{"SANDBOX_SECRET", "s"}, {"ENVD_PORT", "0"}, {"SANDBOX_KILL_GRACE", "1"}});
    }

    // Every position, in three rounds. In the first one caches, pools and histories fill; the others must
    // leave everything as they find it.
    void cut_all(Stage& stage, const std::vector<Exchange>& exchanges) {
        stage.make_history();
        const auto begin = Clock::now();
        std::size_t cuts = 0;
        const std::size_t threads = Census::of(*daemon_).threads;
        Census before;
        for (std::size_t round = 0; round < kRounds; ++round) {
            if (round == 1) before = Census::of(*daemon_);
            Cutter cutter(*daemon_, kRounds * (is_slow() ? 17 : 1), round);
            for (const Exchange& exchange : exchanges) {
                const auto start = Clock::now();
                const std::size_t old = cutter.cuts();
                cutter.run(exchange);
                const std::chrono::duration<double> took = Clock::now() - start;
                std::printf("  %-24s %6zu cuts %6.2f s\n", exchange.name.c_str(), cutter.cuts() - old,
                            took.count());
                std::fflush(stdout);
                if (HasFailure()) return;
            }
            cuts += cutter.cuts();
        }
        const std::chrono::duration<double> took = Clock::now() - begin;
        const std::size_t rss_kib = Census::of(*daemon_).rss_kib;  // as busy as before
        before.threads = threads;
        const Census after = rest(threads);
        EXPECT_EQ(after.excess_over(before), "");
        std::printf("%zu exchanges, %zu cuts in %.1f s; RSS %zu -> %zu KiB, %zu threads\n", exchanges.size(),
                    cuts, took.count(), before.rss_kib, rss_kib, after.threads);
        if (!is_slow()) {
            EXPECT_LE(rss_kib, before.rss_kib + kMoreMemory);
        }
    }

    // When the pools have let their threads go, which takes them 10 s.
    Census rest(std::size_t threads) const {
        Census census;
        EXPECT_TRUE(comes_to_pass([&] { return (census = Census::of(*daemon_)).threads <= threads; }))
            << threads << " threads before, now " << census.threads;
        return census;
    }

    static constexpr std::size_t kRounds = 3;
    static constexpr std::size_t kMoreMemory = 8 * 1024;  // KiB
    std::optional<e2e::Daemon> daemon_;
};

TEST_F(CutTest, KoyebDialect) {
    Stage stage(*daemon_, 0);
    cut_all(stage, stage.koyeb_exchanges());
}

TEST_F(CutTest, EnvdDialect) {
    Stage stage(*daemon_, envd_port_of(*daemon_));
    cut_all(stage, stage.envd_exchanges());
}

// Clients that stop for ever, one at every byte, all at once: each is ended by its deadline, and others are
// served meanwhile.
TEST(StallTest, EveryByte) {
    e2e::Daemon daemon({{"SANDBOX_SECRET", "s"},
                        {"SANDBOX_HEADER_TIMEOUT", "1"},
                        {"SANDBOX_BODY_TIMEOUT", "1"},
                        {"SANDBOX_IDLE_TIMEOUT", "1"}});
    Stage stage(daemon, 0);
    const Cutter probe(daemon);
    const std::size_t before = daemon.descriptors();
    for (const Exchange& exchange : stage.koyeb_exchanges()) {
        if (exchange.name != "write_replace" && exchange.name != "write_chunked" &&
            exchange.name != "pipelined")
            continue;
        SCOPED_TRACE(exchange.name);
        std::vector<Line> lines;
        const std::size_t size = exchange.request(0).size();
        for (std::size_t at = 0; at < size; ++at) {
            const int number = 1'000 + static_cast<int>(at);
            if (exchange.prepare) exchange.prepare(number, false);
            lines.push_back(Line::connect(daemon.port()));
            ASSERT_TRUE(lines.back().send(exchange.request(number).substr(0, at)));
        }
        const Line other = Line::connect(daemon.port());
        std::string answer;
        EXPECT_TRUE(other.send("GET /health HTTP/1.1\r\nHost: h\r\n\r\n"));
        EXPECT_EQ(static_cast<int>(other.receive(answer)), static_cast<int>(Line::End::none));
        EXPECT_EQ(test::AnswerReader(answer).complete(), 1U) << answer;
        for (std::size_t at = 0; at < size; ++at) {
            std::string rest;
            EXPECT_NE(static_cast<int>(lines[at].receive_all(rest)), static_cast<int>(Line::End::silence))
                << "waits for ever behind byte " << at;
            const Part& last = exchange.parts.back();
            EXPECT_EQ(last.effect(1'000 + static_cast<int>(at)), Effect::absent) << "behind byte " << at;
        }
    }
    EXPECT_TRUE(comes_to_pass([&] { return daemon.descriptors() <= before; })) << daemon.descriptors();
}

}  // namespace
}  // namespace sandbox::chaos
