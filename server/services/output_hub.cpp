#include "services/output_hub.hpp"

#include <algorithm>
#include <cstring>

#include "base/on_exit.hpp"

namespace sandbox {
namespace {

// Before each piece in the file: its stream and its length.
struct RecordHead {
    std::uint32_t stream = 0;
    std::uint32_t size = 0;
};

constexpr std::size_t kSpoolMemory = 64 * 1024;

}  // namespace

struct Subscription::State {
    explicit State(Loop& loop) : changed(loop) {}

    std::uint64_t backlog() const { return queued + (spool ? spool->size() - spool_read : 0); }

    Event changed;
    std::deque<OutputPiece> queue;
    std::size_t queued = 0;        // bytes of them
    std::unique_ptr<Spool> spool;  // what came after the queue was full
    std::uint64_t spool_read = 0;
    bool appending = false;
    bool ended = false;
    bool cut_off = false;
    bool dropped = false;  // by its reader
    bool woken = false;
};

Subscription::Subscription(std::shared_ptr<OutputHub> hub, std::shared_ptr<State> state)
    : hub_(std::move(hub)), state_(std::move(state)) {}

Subscription::~Subscription() {
    state_->dropped = true;
    std::erase(hub_->subscribers_, state_);
    hub_->changed_.notify();
}

bool Subscription::ended() const { return state_->ended && state_->queue.empty() && !state_->spool; }
bool Subscription::cut_off() const { return state_->cut_off && state_->queue.empty() && !state_->spool; }

void Subscription::wake() {
    state_->woken = true;
    state_->changed.notify();
}

Task<bool> Subscription::wait_for(std::chrono::milliseconds timeout) {
    std::shared_ptr<State> state = state_;
    if (state->queue.empty() && !state->spool && !state->ended && !state->cut_off && !state->woken) {
        co_await state->changed.wait_for(timeout);
    }
    bool something = !state->queue.empty() || state->spool || state->ended || state->cut_off || state->woken;
    state->woken = false;
    co_return something;
}

Task<std::vector<OutputPiece>> Subscription::take(std::size_t max_bytes) {
    std::shared_ptr<State> state = state_;
    std::vector<OutputPiece> pieces;
    std::size_t total = 0;
    while (!state->queue.empty() && total < max_bytes) {
        total += state->queue.front().bytes->size();
        pieces.push_back(std::move(state->queue.front()));
        state->queue.pop_front();
    }
    state->queued -= total;
    while (state->queue.empty() && state->spool && total < max_bytes) {
        // What is being appended now is read at the next call.
        if (state->spool_read == state->spool->size()) {
            if (state->appending) {
                if (!pieces.empty()) break;
                co_await state->changed.wait();
                continue;
            }
            state->spool.reset();
            state->spool_read = 0;
            break;
        }
        RecordHead head;
        char raw[sizeof head];
        Result<std::size_t> got = co_await state->spool->read(state->spool_read, raw);
        bool whole = got && *got == sizeof head;
        if (whole) std::memcpy(&head, raw, sizeof head);
        std::string bytes(whole ? head.size : 0, '\0');
        if (whole) {
            got = co_await state->spool->read(state->spool_read + sizeof head, bytes);
            whole = got && *got == bytes.size();
        }
        if (!whole && state->appending) {  // The record's end is still on its way.
            co_await state->changed.wait();
            continue;
        }
        if (!whole) {
            state->cut_off = true;
            state->spool.reset();
            break;
        }
        state->spool_read += sizeof head + bytes.size();
        total += bytes.size();
        OutputPiece piece;
        piece.stream = static_cast<StreamId>(head.stream);
        piece.bytes = std::make_shared<const std::string>(std::move(bytes));
        pieces.push_back(std::move(piece));
    }
    hub_->changed_.notify();
    co_return pieces;
}

OutputHub::OutputHub(Loop& loop, BlockingPool& pool, SpillDir* spill)
    : loop_(loop), pool_(pool), spill_(spill), changed_(loop) {}
OutputHub::~OutputHub() = default;

std::unique_ptr<Subscription> OutputHub::subscribe() {
    auto state = std::make_shared<Subscription::State>(loop_);
    state->ended = ended_at_.has_value();
    if (!state->ended) subscribers_.push_back(state);
    return std::unique_ptr<Subscription>(new Subscription(shared_from_this(), std::move(state)));
}

bool OutputHub::all_behind() const {
    return !subscribers_.empty() && std::all_of(subscribers_.begin(), subscribers_.end(),
                                                [](const auto& s) { return s->backlog() >= kPace; });
}

Task<> OutputHub::hand_over(Subscription::State& to, const OutputPiece& piece) {
    if (to.dropped || to.cut_off) co_return;
    if (!to.spool && to.queued < kMemory) {
        to.queue.push_back(piece);
        to.queued += piece.bytes->size();
        to.changed.notify();
        co_return;
    }
    if (spill_ == nullptr || to.backlog() > kMostBehind) {
        to.cut_off = true;
        to.changed.notify();
        co_return;
    }
    if (!to.spool) to.spool = std::make_unique<Spool>(pool_, *spill_, kSpoolMemory);
    RecordHead head;
    head.stream = static_cast<std::uint32_t>(piece.stream);
    head.size = static_cast<std::uint32_t>(piece.bytes->size());
    std::string record(sizeof head, '\0');
    std::memcpy(record.data(), &head, sizeof head);
    record += *piece.bytes;
    bool whole = false;
    auto release = [&to, &whole] {
        to.appending = false;
        if (!whole) to.cut_off = true;  // What the file has of it is still read.
        to.changed.notify();
    };
    to.appending = true;
    const OnExit released(release);
    Result<> stored = co_await to.spool->append(record);
    whole = stored.has_value();
}

Task<> OutputHub::publish_to_all(const OutputPiece& piece) {
    std::vector<std::shared_ptr<Subscription::State>> now = subscribers_;
    bool all_have_it = false;
    auto release = [this, &now, &all_have_it] {
        for (const auto& subscriber : now) {
            if (all_have_it) continue;
            subscriber->cut_off = true;
            subscriber->changed.notify();
        }
        std::erase_if(subscribers_, [](const auto& s) { return s->cut_off; });
        publishing_ = false;
        changed_.notify();
    };
    publishing_ = true;
    const OnExit released(release);
    for (const auto& subscriber : now) co_await hand_over(*subscriber, piece);
    all_have_it = true;
}

Task<> OutputHub::publish(StreamId stream, std::string_view bytes) {
    if (subscribers_.empty()) co_return;
    std::shared_ptr<OutputHub> self = shared_from_this();
    OutputPiece piece;
    piece.stream = stream;
    piece.bytes = std::make_shared<const std::string>(bytes);
    while (publishing_) co_await changed_.wait();  // Both streams in one order, for everybody.
    co_await publish_to_all(piece);
    while (all_behind()) co_await changed_.wait();
}

void OutputHub::end() {
    if (ended_at_) return;
    ended_at_ = std::chrono::steady_clock::now();
    for (const auto& subscriber : subscribers_) {
        subscriber->ended = true;
        subscriber->changed.notify();
    }
    subscribers_.clear();
    changed_.notify();
}

}  // namespace sandbox
