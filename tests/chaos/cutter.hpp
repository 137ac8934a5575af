#pragma once
// Runs an exchange again and again, each time cut in another way or at another byte, and holds the daemon to
// the truth.

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "e2e/support.hpp"
#include "exchange.hpp"
#include "line.hpp"

namespace sandbox::chaos {

enum class Fault {
    close,       // the client is gone, in good order
    reset,       // the client is gone, without
    half_close,  // nothing more comes from the client, which still listens
    pause,       // the rest comes when the daemon has had its look at the first bytes
};

class Cutter {
  public:
    // Every `stride`-th position is cut, from the `first` on. One command of the daemon is expected to run
    // all the time.
    explicit Cutter(const e2e::Daemon& daemon, std::size_t stride = 1, std::size_t first = 0);

    // All faults at all positions, in both directions, and byte by byte; then waits for the daemon to come to
    // rest and compares what has happened with what was sent and answered.
    void run(const Exchange& exchange);

    std::size_t cuts() const { return cuts_; }

  private:
    struct Case {
        int number = 0;
        std::size_t sent = 0;  // bytes of the request
        std::string received;
        Line line;
    };
    struct Sizes {
        std::size_t request = 0;
        std::size_t answer = 0;
    };
    Sizes record(const Exchange& exchange);
    std::vector<std::size_t> positions(const Exchange& exchange, std::size_t size,
                                       const std::string& bytes) const;
    Case begin(const Exchange& exchange, bool whole);
    void cut_request(const Exchange& exchange, Fault fault, const std::vector<std::size_t>& at,
                     std::size_t size);
    void cut_answer(const Exchange& exchange, Fault fault, const std::vector<std::size_t>& at,
                    std::size_t size);
    void trickle(const Exchange& exchange);
    void receive_whole(const Exchange& exchange, Case& one);
    bool has_all(const Exchange& exchange, const std::string& received) const;
    // The daemon has seen all that was sent before.
    void let_it_look();
    void end(const Exchange& exchange, Case&& one, bool must_be_whole);
    void check_answers(const Exchange& exchange, const Case& one, const test::AnswerReader& read) const;
    void settle(const Exchange& exchange);
    void check_effects(const Exchange& exchange);
    std::string ask(const std::string& target);

    static std::size_t at_once(const Exchange& exchange);

    const e2e::Daemon& daemon_;
    const std::size_t stride_;
    const std::size_t first_;
    std::size_t cuts_ = 0;
    Line probe_;
    std::size_t descriptors_ = 0;  // of the daemon, with the probe
    std::string recorded_;         // the answer
    struct Ended {
        int number;
        std::size_t sent;
        std::size_t answered;  // parts
    };
    std::vector<Ended> ended_;
};

}  // namespace sandbox::chaos
