#pragma once
// The daemon's own log: one logfmt line an event on standard error, `time=… level=INFO msg="…" key=value`.
// Never output of commands, values of environment variables, or secrets, at any level.
// Thread-safe. Writing never blocks the caller: lines queue to one thread, and the oldest are dropped when
// whoever reads our standard error has stopped reading. So are those that there is no memory for.

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

namespace sandbox::log {

enum class Level { trace, debug, info, warn, error };

// "TRACE", "debug", …; anything unknown is info.
Level level_from(std::string_view text);

struct Field {
    std::string_view key;
    std::string value;
    Field(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
    Field(std::string_view k, std::string_view v) : key(k), value(v) {}
    Field(std::string_view k, const char* v) : key(k), value(v) {}
    Field(std::string_view k, bool v) : key(k), value(v ? "true" : "false") {}
    template <std::integral I>
    requires(!std::same_as<I, bool>) Field(std::string_view k, I v) : key(k), value(std::to_string(v)) {}
};
using Fields = std::initializer_list<Field>;

// Starts the writer thread; call once from main, with signals blocked. Lines before it go nowhere.
void init(Level level);
// Waits until what was logged has been written, and ends the writer thread; at most about a second.
void flush_and_stop();

bool enabled(Level level);
void write(Level level, std::string_view message, Fields fields = {}) noexcept;

inline void debug(std::string_view m, Fields f = {}) { write(Level::debug, m, f); }
inline void info(std::string_view m, Fields f = {}) { write(Level::info, m, f); }
inline void warn(std::string_view m, Fields f = {}) { write(Level::warn, m, f); }
inline void error(std::string_view m, Fields f = {}) { write(Level::error, m, f); }

}  // namespace sandbox::log
