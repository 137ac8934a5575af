#pragma once
// Output of a command on its way into the answer of /run.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "koyeb/context.hpp"
#include "koyeb/encoded_text.hpp"
#include "platform/event.hpp"
#include "platform/spool_queue.hpp"
#include "services/output.hpp"

namespace sandbox::koyeb {

// One stream. The command must not wait for the reader of the answer: what there is room for in the text is
// encoded there at once, and what the reader is behind lies in a queue until then. Loop thread; one coroutine
// appends and one pulls, also both at once.
class RunOutput {
  public:
    // The text goes out when it has as much, and a pull takes as much from the queue.
    static constexpr std::size_t kPiece = 96 * 1024;

    // `prefix` is what stands in the answer before it. Pool, directory and limit are those of a SpoolQueue.
    RunOutput(BlockingPool& pool, SpillDir& dir, std::size_t memory_limit, bool base64,
              std::string_view prefix);

    // Errors: as of SpoolQueue::append().
    Task<Result<>> append(std::string_view bytes);
    // Encodes the next of what lies in the queue, a piece at most: how many bytes, 0 when none can be had
    // yet.
    Task<Result<std::size_t>> pull();
    // After its last byte, once: nothing is held back for the next one any more.
    void finish() { encoder_.finish(text_); }

    // What comes next in the answer, the prefix first. To be taken away by who sends it.
    std::string& text() { return text_; }
    // Whether there is more than what fits a text that is still being filled.
    bool piece_ready() const { return text_.size() >= kPiece || behind(); }
    // Whether there is more than the text: pull() has to bring it there.
    bool behind() const { return pulling_ || queue_.size() > 0; }
    std::uint64_t appended() const { return appended_; }

  private:
    SpoolQueue queue_;
    EncodedText encoder_;
    std::string text_;
    std::unique_ptr<char[]> piece_;
    bool pulling_ = false;
    std::uint64_t appended_ = 0;
};

// Collects both streams. When there is no room for more the rest is read and dropped, and the answer says so.
class RunSink final : public OutputSink {
  public:
    RunSink(Context& context, bool base64);

    // Called once, when there is more of stdout than should be kept in memory.
    void on_large(std::function<void()> callback) { on_large_ = std::move(callback); }
    // Nobody wants it any more: what comes is dropped.
    void drop() { dropping_ = true; }
    void end();

    Task<> on_output(StreamId stream, std::string_view bytes) override;
    Task<> on_end(StreamId) override { co_return; }

    RunOutput& out() { return stdout_; }
    RunOutput& err() { return stderr_; }
    const std::optional<Error>& failure() const { return failure_; }
    bool ended() const { return ended_; }
    // Resumes when there is more of stdout to send, or an end.
    Task<> more() { return changed_.wait(); }

  private:
    RunOutput stdout_;
    RunOutput stderr_;
    std::optional<Error> failure_;
    Event changed_;
    const std::uint64_t memory_;
    std::function<void()> on_large_;
    bool dropping_ = false;
    bool ended_ = false;
};

}  // namespace sandbox::koyeb
