#include "cutter.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "census.hpp"

namespace sandbox::chaos {
namespace {

constexpr std::size_t kAtOnce = 32;  // lines
constexpr std::size_t kVariation = 100;
constexpr int kSmallWindow = 16 * 1024;

// Of all cutters: every case of a program leaves a trace of its own.
int last_number = 0;

const char* name_of(Fault fault) {
    switch (fault) {
        case Fault::close:
            return "closed";
        case Fault::reset:
            return "reset";
        case Fault::half_close:
            return "half closed";
        default:
            return "paused";
    }
}

}  // namespace

Cutter::Cutter(const e2e::Daemon& daemon, std::size_t stride, std::size_t first)
    : daemon_(daemon), stride_(stride), first_(first) {
    let_it_look();
    descriptors_ = daemon_.descriptors();
}

std::string Cutter::ask(const std::string& target) {
    if (!probe_) probe_ = Line::connect(daemon_.port());
    EXPECT_TRUE(probe_.send("GET " + target + " HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer s\r\n\r\n"));
    std::string answer;
    while (test::AnswerReader(answer).complete() == 0) {
        if (probe_.receive(answer) != Line::End::none) {
            ADD_FAILURE() << "the daemon does not answer " << target;
            probe_.close();
            return {};
        }
    }
    return test::AnswerReader(answer).answers[0].body;
}

std::size_t Cutter::at_once(const Exchange& exchange) { return exchange.alone ? 1 : kAtOnce; }

// Twice, because a new connection is first accepted, and read from the next time that the loop comes around.
void Cutter::let_it_look() {
    ask("/health");
    ask("/health");
}

bool Cutter::has_all(const Exchange& exchange, const std::string& received) const {
    if (exchange.endless) return received.find(exchange.until) != std::string::npos;
    // Answers differ by some bytes: times, numbers of processes. A long one is not read for every piece of
    // it.
    if (received.size() + kVariation < recorded_.size()) return false;
    return test::AnswerReader(received).complete() == exchange.parts.size();
}

void Cutter::receive_whole(const Exchange& exchange, Case& one) {
    while (!has_all(exchange, one.received)) {
        if (one.line.receive(one.received) != Line::End::none) return;
    }
}

Cutter::Case Cutter::begin(const Exchange& exchange, bool whole) {
    Case one;
    one.number = ++last_number;
    if (exchange.prepare) exchange.prepare(one.number, whole);
    one.line = Line::connect(exchange.port, exchange.large ? kSmallWindow : 0);
    EXPECT_TRUE(one.line) << "the daemon does not accept";
    return one;
}

Cutter::Sizes Cutter::record(const Exchange& exchange) {
    Case one = begin(exchange, true);
    const std::string request = exchange.request(one.number);
    EXPECT_TRUE(one.line.send(request));
    one.sent = request.size();
    receive_whole(exchange, one);
    recorded_ = one.received;
    const Sizes sizes{request.size(), one.received.size()};
    end(exchange, std::move(one), true);
    return sizes;
}

// All, or for what is long: all near the ends and near every border of a buffer or a frame, and some between.
std::vector<std::size_t> Cutter::positions(const Exchange& exchange, std::size_t size,
                                           const std::string& bytes) const {
    std::set<std::size_t> wanted;
    auto around = [&](std::size_t at, std::size_t by) {
        for (std::size_t i = at > by ? at - by : 0; i <= std::min(at + by, size); ++i) wanted.insert(i);
    };
    if (!exchange.large || size < 1200) {
        around(0, size);
    } else {
        around(0, 220);
        around(size, 30);
        for (std::size_t at = 0; at < size; at += 65536) around(at, 2);
        for (std::size_t at = 0; at < size; at += 39'983) wanted.insert(at);
        for (std::size_t at = 0; (at = bytes.find("\r\n", at)) != std::string::npos; ++at) around(at, 3);
    }
    std::vector<std::size_t> chosen;
    std::size_t count = 0;
    for (const std::size_t at : wanted) {
        if (count++ % (stride_ * exchange.every) == first_ * exchange.every || at == size)
            chosen.push_back(at);
    }
    return chosen;
}

void Cutter::cut_request(const Exchange& exchange, Fault fault, const std::vector<std::size_t>& at,
                         std::size_t size) {
    SCOPED_TRACE(exchange.name + ": the request is " + name_of(fault));
    const std::size_t lines = at_once(exchange);
    for (std::size_t first = 0; first < at.size(); first += lines) {
        std::vector<Case> cases;
        for (std::size_t i = first; i < std::min(first + lines, at.size()); ++i) {
            const bool whole = at[i] == size || fault == Fault::pause;
            cases.push_back(begin(exchange, whole));
            cases.back().sent = at[i];
            cases.back().line.send(exchange.request(cases.back().number).substr(0, at[i]));
            ++cuts_;
        }
        let_it_look();
        for (Case& one : cases) {
            if (fault == Fault::close) one.line.close();
            if (fault == Fault::reset) one.line.reset();
            if (fault == Fault::half_close) one.line.half_close();
            if (fault == Fault::pause) {
                one.line.send(exchange.request(one.number).substr(one.sent));
                one.sent = size;
            }
        }
        for (Case& one : cases) {
            if (fault == Fault::half_close) {
                const Line::End how = one.line.receive_all(one.received);
                EXPECT_NE(how, Line::End::silence) << "kept waiting after byte " << one.sent;
            }
            if (fault == Fault::pause) receive_whole(exchange, one);
            end(exchange, std::move(one), fault == Fault::pause);
        }
    }
}

void Cutter::cut_answer(const Exchange& exchange, Fault fault, const std::vector<std::size_t>& at,
                        std::size_t size) {
    SCOPED_TRACE(exchange.name + ": the answer is " + name_of(fault));
    const std::size_t lines = at_once(exchange);
    for (std::size_t first = 0; first < at.size(); first += lines) {
        std::vector<Case> cases;
        for (std::size_t i = first; i < std::min(first + lines, at.size()); ++i) {
            cases.push_back(begin(exchange, true));
            const std::string request = exchange.request(cases.back().number);
            cases.back().line.send(request);
            cases.back().sent = request.size();
            ++cuts_;
        }
        if (at[first] == 0) let_it_look();
        for (std::size_t i = 0; i < cases.size(); ++i) {
            Case& one = cases[i];
            const std::size_t wanted = at[first + i];
            while (one.received.size() < wanted) {
                if (one.line.receive(one.received, wanted - one.received.size()) != Line::End::none) break;
                if (one.received.size() + kVariation > size && has_all(exchange, one.received)) break;
            }
            if (fault == Fault::close) one.line.close();
            if (fault == Fault::reset) one.line.reset();
            end(exchange, std::move(one), false);
        }
    }
}

void Cutter::trickle(const Exchange& exchange) {
    SCOPED_TRACE(exchange.name + ": byte by byte");
    Case one = begin(exchange, true);
    const std::string request = exchange.request(one.number);
    if (exchange.large) {
        EXPECT_TRUE(one.line.send(request));
    } else {
        EXPECT_TRUE(one.line.trickle(request));
    }
    one.sent = request.size();
    ++cuts_;
    const std::size_t enough = exchange.large ? 2000 : recorded_.size() + kVariation;
    while (!has_all(exchange, one.received) && one.received.size() < enough) {
        if (one.line.receive(one.received, 1) != Line::End::none) break;
    }
    receive_whole(exchange, one);
    end(exchange, std::move(one), true);
}

// What came back: whole answers are right, and to requests that did not arrive there is no good one.
void Cutter::check_answers(const Exchange& exchange, const Case& one, const test::AnswerReader& read) const {
    EXPECT_EQ(read.fault, "") << one.received.substr(0, 2000);
    std::size_t arrived = 0;
    for (std::size_t i = 0; i < read.complete(); ++i) {
        const test::Answer& answer = read.answers[i];
        const bool has_part = i < exchange.parts.size();
        if (has_part) arrived += exchange.parts[i].request(one.number).size();
        if (!has_part || arrived > one.sent) {
            EXPECT_GE(answer.status, 400) << "sent " << one.sent << ": " << one.received.substr(0, 2000);
        } else {
            const Part& part = exchange.parts[i];
            EXPECT_EQ(answer.status, part.status) << answer.body.substr(0, 500);
            EXPECT_NE(answer.body.find(part.expected), std::string::npos)
                << part.expected.substr(0, 100) << " is not in " << answer.body.substr(0, 500);
        }
    }
}

void Cutter::end(const Exchange& exchange, Case&& one, bool must_be_whole) {
    const test::AnswerReader read(one.received);
    check_answers(exchange, one, read);
    const bool to_the_end = !read.answers.empty() && read.answers.back().to_the_end;
    if (must_be_whole && !to_the_end) {
        EXPECT_TRUE(has_all(exchange, one.received))
            << "sent " << one.sent << ", got: " << one.received.substr(0, 2000);
    }
    ended_.push_back({one.number, one.sent, std::min(read.complete(), exchange.parts.size())});
    if (!exchange.alone) return;
    one.line.close();
    let_it_look();
    check_effects(exchange);
}

void Cutter::settle(const Exchange& exchange) {
    let_it_look();
    if (exchange.finish) exchange.finish();
    std::string metrics;
    const bool at_rest = comes_to_pass([&] {
        metrics = ask("/metrics");
        return metrics.find("\nsandbox_http_connections 1\n") != std::string::npos &&
               metrics.find("\nsandbox_commands_running 1\n") != std::string::npos &&
               daemon_.descriptors() <= descriptors_;
    });
    EXPECT_TRUE(at_rest) << exchange.name
                         << ": connections or commands live on; descriptors: " << descriptors_ << " -> "
                         << daemon_.descriptors() << "\n"
                         << metrics;
}

void Cutter::check_effects(const Exchange& exchange) {
    for (const Ended& one : ended_) {
        std::size_t arrived = 0;
        for (std::size_t i = 0; i < exchange.parts.size(); ++i) {
            const Part& part = exchange.parts[i];
            arrived += part.request(one.number).size();
            if (!part.effect) continue;
            const Effect effect = part.effect(one.number);
            if (arrived - part.surplus > one.sent) {
                EXPECT_EQ(effect, Effect::absent)
                    << exchange.name << " was done although only " << one.sent << " bytes were sent";
            } else if (i < one.answered || part.must_happen) {
                EXPECT_EQ(effect, Effect::done) << exchange.name << " was not done, case " << one.number;
            } else if (!part.may_be_torn) {
                EXPECT_NE(effect, Effect::torn) << exchange.name << " was done in part, case " << one.number;
            }
        }
    }
    ended_.clear();
}

void Cutter::run(const Exchange& exchange) {
    recorded_.clear();
    if (exchange.start) exchange.start();
    const Sizes sizes = record(exchange);
    const std::string request = exchange.request(0);
    ASSERT_EQ(request.size(), sizes.request);
    const auto in_request = positions(exchange, sizes.request, request);
    const auto in_answer = positions(exchange, sizes.answer, recorded_);
    for (const Fault fault : {Fault::close, Fault::reset, Fault::half_close, Fault::pause}) {
        cut_request(exchange, fault, in_request, sizes.request);
    }
    for (const Fault fault : {Fault::close, Fault::reset})
        cut_answer(exchange, fault, in_answer, sizes.answer);
    trickle(exchange);
    settle(exchange);
    check_effects(exchange);
}

}  // namespace sandbox::chaos
