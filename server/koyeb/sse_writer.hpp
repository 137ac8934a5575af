#pragma once
// Server-sent events (HTML living standard, 9.2) as both public SDKs read them: ASCII-only JSON, so that
// neither a reader that splits at every Unicode line boundary nor one that decodes each chunk by itself can
// be hurt.

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "base/line_splitter.hpp"
#include "net/exchange.hpp"
#include "platform/event.hpp"
#include "services/output.hpp"

namespace sandbox::koyeb {

// One event stream over one exchange. Events gather in a buffer and leave with one write; while a write is
// under way the next ones gather. Loop thread; used by several coroutines at once.
class SseWriter {
  public:
    SseWriter(net::Exchange& exchange, Loop& loop);

    // Sends the head at once.
    Task<bool> begin();
    // Where events are appended; flush() sends them.
    std::string& buffer() { return pending_; }
    // Returns when everything appended before the call has been handed to the kernel: the back-pressure.
    // False: the peer is gone.
    Task<bool> flush();
    // flush() without waiting for it.
    void flush_later();
    // Ends the connection: what is in buffer() is not whole.
    void cut() { exchange_.abort(); }
    // flush() and the end of the answer. Must be awaited before the writer is destroyed.
    Task<bool> finish();

    // Sends a comment whenever nothing was sent for `period`. Ends with finish(); 0: none.
    void keep_alive(std::chrono::milliseconds period);

  private:
    void tick();
    net::Exchange& exchange_;
    Loop& loop_;
    Event written_;
    Timer timer_;
    std::chrono::milliseconds period_{0};
    std::string pending_;
    std::string sending_;
    bool writing_ = false;
    unsigned flushing_later_ = 0;
    bool sent_since_tick_ = false;
};

// The output of /run_streaming as events.
class SseSink final : public OutputSink, public std::enable_shared_from_this<SseSink> {
  public:
    struct Options {
        bool base64 = false;                 // raw chunks instead of lines
        std::chrono::milliseconds flush{0};  // a piece without a newline is sent after this; 0: held
    };
    // `writer` must outlive the command's use of the sink (see Command::detach_sink).
    SseSink(SseWriter& writer, Loop& loop, Options options);

    Task<> on_output(StreamId stream, std::string_view bytes) override;
    Task<> on_end(StreamId stream) override;
    // Appends what is held of unfinished lines, as their ends.
    void finish();
    // No timer runs after this.
    void stop();

  private:
    void flush_held();
    LineSplitter& splitter(StreamId stream) { return lines_[static_cast<std::size_t>(stream)]; }

    SseWriter& writer_;
    Loop& loop_;
    const Options options_;
    Timer flush_timer_;
    bool flush_armed_ = false;
    std::array<LineSplitter, 3> lines_{LineSplitter(CrRule::all), LineSplitter(CrRule::all),
                                       LineSplitter(CrRule::all)};  // by StreamId
};

const char* stream_name(StreamId stream);

// The event that a stream ends with when it cannot go on.
void append_error_event(std::string& out, std::string_view message);

// Appends the members that a line's end asks for: "eol" unless it was one "\n", "partial" when the line goes
// on.
void append_line_end(std::string& out, std::string_view eol, bool partial);

}  // namespace sandbox::koyeb
