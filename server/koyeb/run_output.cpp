#include "koyeb/run_output.hpp"

#include <span>
#include <utility>

namespace sandbox::koyeb {

RunOutput::RunOutput(BlockingPool& pool, SpillDir& dir, std::size_t memory_limit, bool base64,
                     std::string_view prefix)
    : queue_(pool, dir, memory_limit), encoder_(base64), text_(prefix) {}

Task<Result<>> RunOutput::append(std::string_view bytes) {
    appended_ += bytes.size();
    if (behind() || text_.size() >= kPiece) co_return co_await queue_.append(bytes);
    encoder_.append(text_, bytes);
    co_return Result<>();
}

Task<Result<std::size_t>> RunOutput::pull() {
    if (!piece_) piece_ = std::make_unique_for_overwrite<char[]>(kPiece);
    pulling_ = true;  // What is appended meanwhile comes behind it.
    const std::span<char> room(piece_.get(), kPiece);
    Result<std::size_t> count = co_await queue_.take(room);
    pulling_ = false;
    if (count) encoder_.append(text_, std::string_view(piece_.get(), *count));
    co_return count;
}

RunSink::RunSink(Context& context, bool base64)
    : stdout_(context.file_pool, context.spill_dir, context.run_memory, base64, "{\"stdout\":\""),
      stderr_(context.file_pool, context.spill_dir, context.run_memory, base64, "\",\"stderr\":\""),
      changed_(context.loop),
      memory_(context.run_memory) {}

void RunSink::end() {
    ended_ = true;
    changed_.notify();
}

Task<> RunSink::on_output(StreamId stream, std::string_view bytes) {
    if (failure_ || dropping_) co_return;
    RunOutput& output = stream == StreamId::stderr_ ? stderr_ : stdout_;
    Result<> stored = co_await output.append(bytes);
    if (!stored && !failure_) failure_ = stored.error();
    if (stdout_.piece_ready()) changed_.notify();
    if (on_large_ && stdout_.appended() > memory_) std::exchange(on_large_, nullptr)();
}

}  // namespace sandbox::koyeb
