#pragma once
// Server-sent events (WHATWG HTML, section 9.2.6), without I/O.

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace koyeb::sandbox {

struct SseEvent {
    std::string type;  // of the `event` field; empty when there was none
    std::string data;  // the `data` fields, joined by newlines
    std::string id;    // the last event id as of this event
};

class SseParser {
  public:
    // Takes any split of the bytes; events come out of next(). Throws SandboxServiceError when an event grows
    // past `kMaxEvent`: then somebody else is talking.
    void feed(std::string_view bytes);
    std::optional<SseEvent> next();
    // Whether bytes were taken that are no whole event yet.
    bool in_event() const { return !line_.empty() || has_field_; }

    static constexpr std::size_t kMaxEvent = std::size_t{1} << 30U;

  private:
    void take_line(std::string_view line);

    std::string line_;       // a line whose end has not come
    bool after_cr_ = false;  // the last line ended in CR: an LF right behind it belongs to it
    bool at_start_ = true;   // a byte order mark may come
    bool has_field_ = false;
    bool has_data_ = false;
    SseEvent event_;
    std::deque<SseEvent> ready_;
};

}  // namespace koyeb::sandbox
