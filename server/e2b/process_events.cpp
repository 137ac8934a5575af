#include "e2b/process_events.hpp"

#include "base/base64.hpp"
#include "base/json_writer.hpp"
#include "e2b/envelope.hpp"

namespace sandbox::e2b {
namespace {

// In the order of their numbers from 1 on, which are those of Linux on x86 and ARM.
constexpr const char* kSignals[] = {
    "hangup",
    "interrupt",
    "quit",
    "illegal instruction",
    "trace/breakpoint trap",
    "aborted",
    "bus error",
    "floating point exception",
    "killed",
    "user defined signal 1",
    "segmentation fault",
    "user defined signal 2",
    "broken pipe",
    "alarm clock",
    "terminated",
    "stack fault",
    "child exited",
    "continued",
    "stopped (signal)",
    "stopped",
    "stopped (tty input)",
    "stopped (tty output)",
    "urgent I/O condition",
    "CPU time limit exceeded",
    "file size limit exceeded",
    "virtual timer expired",
    "profiling timer expired",
    "window changed",
    "I/O possible",
    "power failure",
    "bad system call",
};

std::string signal_text(int signal) {
    if (signal >= 1 && signal <= static_cast<int>(std::size(kSignals))) return kSignals[signal - 1];
    return "signal " + std::to_string(signal);
}

}  // namespace

std::string status_text(const ExitStatus& status) {
    if (status.exited()) return "exit status " + std::to_string(status.code());
    std::string text = "signal: " + signal_text(status.signal());
    if (status.core_dumped()) text += " (core dumped)";
    return text;
}

void append_start_event(std::string& out, pid_t pid) {
    append_envelope(out, kMessageFlags, "{\"event\":{\"start\":{\"pid\":" + std::to_string(pid) + "}}}");
}

void append_data_events(std::string& out, StreamId stream, std::string_view bytes) {
    std::string_view head = "{\"event\":{\"data\":{\"stdout\":\"";
    if (stream == StreamId::stderr_) head = "{\"event\":{\"data\":{\"stderr\":\"";
    if (stream == StreamId::pty) head = "{\"event\":{\"data\":{\"pty\":\"";
    static constexpr std::string_view kTail = "\"}}}";
    const std::size_t most = (stream == StreamId::pty ? 16U : 32U) * 1024U;
    while (!bytes.empty()) {
        std::string_view part = bytes.substr(0, most);
        bytes.remove_prefix(part.size());
        std::size_t encoded = (part.size() + 2) / 3 * 4;
        append_envelope_head(out, kMessageFlags, head.size() + encoded + kTail.size());
        out += head;
        append_base64(out, part);
        out += kTail;
    }
}

void append_keepalive_event(std::string& out) {
    append_envelope(out, kMessageFlags, "{\"event\":{\"keepalive\":{}}}");
}

void append_end_event(std::string& out, const CommandEnd& end) {
    std::string message;
    JsonWriter writer(message);
    writer.begin_object().key("event").begin_object().key("end").begin_object();
    if (end.survives) {
        const char* text = "process survives SIGKILL";
        writer.member("exitCode", -1).member("status", text).member("error", text);
    } else {
        const ExitStatus& status = end.exit.status;
        std::string text = status_text(status);
        int code = status.exited() ? status.code() : -1;
        if (code != 0) writer.member("exitCode", code);
        if (status.exited()) writer.member("exited", true);
        writer.member("status", text);
        if (code != 0) writer.member("error", text);
    }
    writer.end_object().end_object().end_object();
    append_envelope(out, kMessageFlags, message);
}

}  // namespace sandbox::e2b
