#include "koyeb/sse_writer.hpp"

#include <new>

#include "base/base64.hpp"
#include "base/json_escape.hpp"
#include "base/on_exit.hpp"

namespace sandbox::koyeb {
namespace {

constexpr StreamId kStreams[] = {StreamId::stdout_, StreamId::stderr_, StreamId::pty};
constexpr std::string_view kStreamMembers[] = {",\"stream\":\"stdout\"", ",\"stream\":\"stderr\"",
                                               ",\"stream\":\"pty\""};

Task<> flush_task(SseWriter& writer) { co_await writer.flush(); }

void append_output_event(std::string& out, StreamId stream, const LinePiece& piece) {
    out += "event: output\ndata: {\"data\":";
    append_json_string(out, piece.text, JsonCharset::ascii);
    out += kStreamMembers[static_cast<std::size_t>(stream)];
    append_line_end(out, piece.eol, piece.partial);
    out += "}\n\n";
}

}  // namespace

const char* stream_name(StreamId stream) {
    switch (stream) {
        case StreamId::stderr_:
            return "stderr";
        case StreamId::pty:
            return "pty";
        default:
            return "stdout";
    }
}

void append_line_end(std::string& out, std::string_view eol, bool partial) {
    if (partial) {
        out += ",\"partial\":true";
    } else if (eol != "\n") {
        out += ",\"eol\":";
        append_json_string(out, eol, JsonCharset::ascii);
    }
}

void append_error_event(std::string& out, std::string_view message) {
    out += "event: error\ndata: {\"error\": ";
    append_json_string(out, message, JsonCharset::ascii);
    out += "}\n\n";
}

SseWriter::SseWriter(net::Exchange& exchange, Loop& loop)
    : exchange_(exchange), loop_(loop), written_(loop), timer_(loop) {}

Task<bool> SseWriter::begin() {
    return exchange_.begin(200, "text/event-stream",
                           {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}});
}

Task<bool> SseWriter::flush() {
    while (writing_) co_await written_.wait();
    if (pending_.empty()) co_return !exchange_.peer_gone();
    writing_ = true;
    bool whole = false;
    auto release = [this, &whole] {
        sending_.clear();
        if (!whole) exchange_.abort();  // Who reads it must not take what is there for all.
        writing_ = false;
        written_.notify();
    };
    const OnExit released(release);
    sending_.swap(pending_);
    bool alive = co_await exchange_.write(sending_);
    whole = true;
    sending_.clear();
    if (sending_.capacity() > 1024 * 1024) std::string().swap(sending_);
    sent_since_tick_ = true;
    co_return alive;
}

Task<bool> SseWriter::finish() {
    timer_.cancel();
    period_ = std::chrono::milliseconds(0);
    co_await flush();
    while (writing_ || flushing_later_ > 0) co_await written_.wait();
    co_return co_await exchange_.finish();
}

void SseWriter::flush_later() {
    auto flushed = [this] {
        --flushing_later_;
        written_.notify();
    };
    ++flushing_later_;
    try {
        spawn_task(loop_, "flush", flush_task(*this), flushed);
    } catch (...) {
        flushed();
        throw;
    }
}

void SseWriter::keep_alive(std::chrono::milliseconds period) {
    period_ = period;
    if (period.count() > 0) timer_.start(period, [this] { tick(); });
}

void SseWriter::tick() {
    if (!sent_since_tick_ && !writing_ && pending_.empty()) {
        pending_ += ": keepalive\n\n";
        flush_later();
    }
    sent_since_tick_ = false;
    keep_alive(period_);
}

SseSink::SseSink(SseWriter& writer, Loop& loop, Options options)
    : writer_(writer), loop_(loop), options_(options), flush_timer_(loop) {}

Task<> SseSink::on_output(StreamId stream, std::string_view bytes) {
    std::string& out = writer_.buffer();
    if (options_.base64) {
        out += "event: output\ndata: {\"data\":\"";
        append_base64(out, bytes);
        out += "\",\"stream\":\"";
        out += stream_name(stream);
        out += "\",\"encoding\":\"base64\"}\n\n";
    } else {
        splitter(stream).feed(bytes,
                              [&](const LinePiece& piece) { append_output_event(out, stream, piece); });
        if (options_.flush.count() > 0 && !flush_armed_ && splitter(stream).held() > 0) {
            flush_armed_ = true;
            flush_timer_.start(options_.flush, [this] { flush_held(); });
        }
    }
    if (!out.empty()) co_await writer_.flush();
}

Task<> SseSink::on_end(StreamId stream) {
    std::string& out = writer_.buffer();
    splitter(stream).finish([&](const LinePiece& piece) { append_output_event(out, stream, piece); });
    if (!out.empty()) co_await writer_.flush();
}

void SseSink::flush_held() {
    flush_armed_ = false;
    std::string& out = writer_.buffer();
    try {
        for (StreamId stream : kStreams) {
            splitter(stream).flush([&](const LinePiece& piece) { append_output_event(out, stream, piece); });
        }
        if (!out.empty()) writer_.flush_later();
    } catch (const std::bad_alloc&) {
        writer_.cut();
    }
}

void SseSink::finish() {
    std::string& out = writer_.buffer();
    for (StreamId stream : kStreams) {
        splitter(stream).finish([&](const LinePiece& piece) { append_output_event(out, stream, piece); });
    }
}

void SseSink::stop() { flush_timer_.cancel(); }

}  // namespace sandbox::koyeb
