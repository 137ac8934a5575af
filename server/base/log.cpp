#include "base/log.hpp"

#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <new>

namespace sandbox::log {
namespace {

// Lines for a writer that is behind. All of it is written to at the start, which takes a quarter of a
// microsecond a line.
constexpr std::size_t kQueuedLines = 512;
constexpr std::chrono::seconds kLastWords{1};

// Tells when the writer has come to the flush, behind all lines before it.
class Sink : public spdlog::sinks::stderr_sink_mt {
  public:
    void flush() override {
        std::call_once(once_, [this] { flushed_.set_value(); });
    }
    std::future<void> flushed() { return flushed_.get_future(); }

  private:
    std::once_flag once_;
    std::promise<void> flushed_;
};

std::atomic<int> g_level{static_cast<int>(Level::info)};
std::shared_ptr<Sink> g_sink;
std::shared_ptr<spdlog::async_logger> g_logger;
std::shared_ptr<spdlog::details::thread_pool> g_writer;

spdlog::level::level_enum to_spdlog(Level level) { return static_cast<spdlog::level::level_enum>(level); }

bool needs_quotes(std::string_view text) {
    return text.empty() || std::any_of(text.begin(), text.end(), [](char c) {
               auto u = static_cast<unsigned char>(c);
               return u <= 0x20 || u >= 0x7f || c == '"' || c == '=' || c == '\\';
           });
}

// Control and non-ASCII bytes are escaped, so that whatever stands in a path cannot forge a log line.
void append_quoted(std::string& out, std::string_view text) {
    static constexpr char kHex[] = "0123456789abcdef";
    out += '"';
    for (char c : text) {
        auto u = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (c == '\n') {
            out += "\\n";
        } else if (u < 0x20 || u >= 0x7f) {
            out += "\\x";
            out += kHex[u >> 4];
            out += kHex[u & 15];
        } else {
            out += c;
        }
    }
    out += '"';
}

}  // namespace

Level level_from(std::string_view text) {
    std::string upper(text);
    std::transform(upper.begin(), upper.end(), upper.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    if (upper == "TRACE") return Level::trace;
    if (upper == "DEBUG") return Level::debug;
    if (upper == "WARN") return Level::warn;
    if (upper == "ERROR") return Level::error;
    return Level::info;
}

void init(Level level) {
    g_level = static_cast<int>(level);
    g_writer = std::make_shared<spdlog::details::thread_pool>(kQueuedLines, 1);
    g_sink = std::make_shared<Sink>();
    g_logger = std::make_shared<spdlog::async_logger>("sandbox", g_sink, g_writer,
                                                      spdlog::async_overflow_policy::overrun_oldest);
    g_logger->set_level(spdlog::level::trace);
    g_logger->set_pattern("time=%Y-%m-%dT%H:%M:%S.%eZ %v", spdlog::pattern_time_type::utc);
}

void flush_and_stop() {
    if (!g_logger) return;
    g_logger->flush();
    if (g_sink->flushed().wait_for(kLastWords) != std::future_status::ready) {
        // Nobody reads, and the writer waits for that: it keeps what it uses.
        static const auto* const kept = new auto(g_writer);
        static_cast<void>(kept);
    }
    g_logger.reset();
    g_writer.reset();  // Joins the thread, unless it is kept.
    g_sink.reset();
}

bool enabled(Level level) {
    return g_logger && static_cast<int>(level) >= g_level.load(std::memory_order_relaxed);
}

void write(Level level, std::string_view message, Fields fields) noexcept {
    if (!enabled(level)) return;
    static constexpr std::string_view kNames[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR"};
    try {
        std::string line = "level=";
        line += kNames[static_cast<int>(level)];
        line += " msg=";
        append_quoted(line, message);
        for (const Field& field : fields) {
            line += ' ';
            line += field.key;
            line += '=';
            if (needs_quotes(field.value)) {
                append_quoted(line, field.value);
            } else {
                line += field.value;
            }
        }
        g_logger->log(to_spdlog(level), spdlog::string_view_t(line.data(), line.size()));
    } catch (const std::bad_alloc&) {  // Lost is the line.
    }
}

}  // namespace sandbox::log
