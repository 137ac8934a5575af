#pragma once
// The live output of one process, as raw bytes, for any number of subscribers.
//
// Every subscriber gets all output from its subscription on, and has a queue of its own: first in memory,
// then in a temporary file. The fastest of them sets the pace of the process, so one that reads slowly, or
// not at all, never holds up the others; what holds the process back is only that all of them are behind.
// Nobody is skipped silently: one that is a gigabyte behind is cut off, and knows. Without subscribers
// output passes by.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/event.hpp"
#include "platform/spool.hpp"
#include "services/output.hpp"

namespace sandbox {

struct OutputPiece {
    StreamId stream = StreamId::stdout_;
    std::shared_ptr<const std::string> bytes;
};

class OutputHub;

// Loop thread. Dropping it ends the subscription; it may outlive the process and the table.
class Subscription {
  public:
    ~Subscription();
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

    // What is there, in order, at most about `max_bytes`; suspends only to read a file. Empty: nothing yet,
    // or, when ended(), nothing more.
    Task<std::vector<OutputPiece>> take(std::size_t max_bytes);
    // Suspends until there may be something to take, an end, or wake(). False when `timeout` passed first.
    Task<bool> wait_for(std::chrono::milliseconds timeout);
    // Ends a wait_for() under way, or the next one.
    void wake();

    // The process has ended and all of its output was handed to take().
    bool ended() const;
    // Fell too far behind: what comes after the pieces taken so far is lost.
    bool cut_off() const;

  private:
    friend class OutputHub;
    struct State;
    Subscription(std::shared_ptr<OutputHub> hub, std::shared_ptr<State> state);
    std::shared_ptr<OutputHub> hub_;
    std::shared_ptr<State> state_;
};

// Loop thread; owned by shared_ptr.
class OutputHub : public std::enable_shared_from_this<OutputHub> {
  public:
    static constexpr std::size_t kPace = 256 * 1024;     // a backlog of this size counts as behind
    static constexpr std::size_t kMemory = 1024 * 1024;  // of a backlog; the rest goes to the file
    static constexpr std::uint64_t kMostBehind = std::uint64_t{1} << 30U;

    // `spill` and `pool` must outlive it; without `spill` (null) whoever is kMemory behind is cut off.
    OutputHub(Loop& loop, BlockingPool& pool, SpillDir* spill);
    ~OutputHub();
    OutputHub(const OutputHub&) = delete;
    OutputHub& operator=(const OutputHub&) = delete;

    std::unique_ptr<Subscription> subscribe();
    // Suspends while there are subscribers and all of them are behind.
    Task<> publish(StreamId stream, std::string_view bytes);
    // No more output. Later subscribers get just this end.
    void end();
    std::optional<std::chrono::steady_clock::time_point> ended_at() const { return ended_at_; }

  private:
    friend class Subscription;
    Task<> publish_to_all(const OutputPiece& piece);
    Task<> hand_over(Subscription::State& to, const OutputPiece& piece);
    bool all_behind() const;

    Loop& loop_;
    BlockingPool& pool_;
    SpillDir* spill_;
    Event changed_;
    bool publishing_ = false;
    std::vector<std::shared_ptr<Subscription::State>> subscribers_;
    std::optional<std::chrono::steady_clock::time_point> ended_at_;
};

}  // namespace sandbox
