// GET /process_logs_streaming: a process's log as server-sent events, from any id on, followed to its end.

#include <cmath>

#include "base/base64.hpp"
#include "base/json_escape.hpp"
#include "base/json_writer.hpp"
#include "base/number.hpp"
#include "base/rfc3339.hpp"
#include "koyeb/handlers.hpp"
#include "koyeb/sse_writer.hpp"

namespace sandbox::koyeb {
namespace {

constexpr std::size_t kBatchBytes = 256 * 1024;

std::optional<double> parse_seconds(std::string_view text) {
    const auto value = parse_number<double>(text);
    const bool in_range = value && *value >= 0 && *value <= 86'400;  // not so for a NaN
    return in_range ? value : std::nullopt;
}

void append_log_event(std::string& out, const LogRecord& record, bool base64) {
    out += "id: ";
    out += std::to_string(record.id);
    out += "\nevent: log\ndata: {\"timestamp\":\"";
    out += format_rfc3339(record.time_ns);
    out += "\",\"stream\":\"";
    out += stream_name(record.stream);
    out += "\",\"data\":";
    if (base64) {
        Base64Encoder encoder;
        out += '"';
        encoder.append(out, record.text);
        encoder.append(out, record.eol);
        encoder.finish(out);
        out += "\",\"encoding\":\"base64\"";
    } else {
        append_json_string(out, record.text, JsonCharset::ascii);
        append_line_end(out, record.eol, record.partial);
    }
    out += "}\n\n";
}

void append_gap_event(std::string& out, const LogGap& gap) {
    out += "event: gap\ndata: ";
    JsonWriter writer(out, JsonCharset::ascii);
    writer.begin_object().member("from", gap.first_id).member("lines", gap.lines).member("bytes", gap.bytes);
    if (!gap.exact) writer.member("estimated", true);
    writer.end_object();
    out += "\n\n";
}

struct Start {
    std::uint64_t from = 1;
    bool follow = true;
    std::chrono::milliseconds keepalive{0};
    std::optional<bool> base64;  // exact bytes, line ends included; else as the process was started
};

Result<Start> read_start(const net::Request& request) {
    Start start;
    if (std::optional<std::string> from = request.query("from")) {
        std::optional<std::uint64_t> id = parse_number<std::uint64_t>(*from);
        if (!id) return Error{Errc::invalid_argument, "from must be a log event id", 0};
        start.from = *id;
    } else if (const std::string* last = request.header("last-event-id"); last != nullptr && !last->empty()) {
        std::optional<std::uint64_t> id = parse_number<std::uint64_t>(*last);
        if (!id) return Error{Errc::invalid_argument, "Last-Event-ID must be a log event id", 0};
        start.from = *id < UINT64_MAX ? *id + 1 : *id;
    }
    if (std::optional<std::string> follow = request.query("follow")) {
        if (*follow != "true" && *follow != "false")
            return Error{Errc::invalid_argument, "follow must be true or false", 0};
        start.follow = *follow == "true";
    }
    if (std::optional<std::string> keepalive = request.query("keepalive")) {
        std::optional<double> seconds = parse_seconds(*keepalive);
        if (!seconds) return Error{Errc::invalid_argument, "keepalive must be 0 to 86400 seconds", 0};
        start.keepalive = std::chrono::milliseconds(static_cast<std::int64_t>(std::ceil(*seconds * 1000)));
    }
    if (std::optional<std::string> encoding = request.query("encoding")) {
        if (*encoding != "base64" && *encoding != "utf-8")
            return Error{Errc::invalid_argument, "encoding must be \"utf-8\" or \"base64\"", 0};
        start.base64 = *encoding == "base64";
    }
    return start;
}

// Sends records from `start` on until the log is complete (or its present end, when not following). The log
// is held by the process, which the caller holds.
Task<bool> send_records(SseWriter& writer, ManagedProcess& process, Start start, bool& gone) {
    LogStore& log = process.log();
    const bool base64 = start.base64.value_or(process.tells_bytes());
    const std::uint64_t present_end = log.next_id();
    std::uint64_t next = start.from;
    while (!gone) {
        // Asked before reading: what comes between the two is seen by the next turn.
        bool complete = process.log_complete();
        LogBatch batch = co_await log.read(next, kBatchBytes);
        if (batch.gap) append_gap_event(writer.buffer(), *batch.gap);
        for (const LogRecord& record : batch.records) append_log_event(writer.buffer(), record, base64);
        if (batch.gap || !batch.records.empty()) {
            next = batch.next_id;
            if (!co_await writer.flush()) co_return false;
            if (!start.follow && next >= present_end) break;
            continue;
        }
        if (complete || !start.follow) break;
        co_await log.changed().wait();
    }
    co_return !gone;
}

}  // namespace

Task<> handle_process_logs(net::Exchange& exchange, Context& context) {
    std::optional<std::string> id = exchange.request().query("id");
    if (!id || id->empty()) {
        co_await net::respond_error(exchange, 400, "Process ID is required");
        co_return;
    }
    Result<Start> start = read_start(exchange.request());
    if (!start) {
        co_await net::respond_error(exchange, 400, start.error().message);
        co_return;
    }
    SseWriter writer(exchange, context.loop);
    co_await writer.begin();
    if (exchange.request().method == net::Method::head) {
        co_await writer.finish();
        co_return;
    }
    std::shared_ptr<ManagedProcess> process = context.processes.find(*id);
    if (!process) {
        append_error_event(writer.buffer(), "process not found: " + *id);
        co_await writer.finish();
        co_return;
    }
    writer.keep_alive(start->keepalive);
    bool gone = false;
    exchange.watch_disconnect([&gone, process] {
        gone = true;
        process->log().changed().notify();
    });
    Start from = *start;
    const bool complete = co_await send_records(writer, *process, from, gone);
    if (complete) writer.buffer() += "event: complete\ndata: {\"message\": \"stream ended\"}\n\n";
    co_await writer.finish();
}

}  // namespace sandbox::koyeb
