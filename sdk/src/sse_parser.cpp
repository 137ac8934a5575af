#include "sse_parser.hpp"

#include <algorithm>

#include "koyeb/sandbox/errors.hpp"

namespace koyeb::sandbox {

void SseParser::feed(std::string_view bytes) {
    while (!bytes.empty()) {
        if (after_cr_) {
            after_cr_ = false;
            if (bytes.front() == '\n') {
                bytes.remove_prefix(1);
                continue;
            }
        }
        const std::size_t end = bytes.find_first_of("\r\n");
        if (line_.size() + event_.data.size() + std::min(end, bytes.size()) > kMaxEvent)
            throw SandboxServiceError(0, "the sandbox sent an event without an end");
        if (end == std::string_view::npos) {
            line_ += bytes;
            return;
        }
        after_cr_ = bytes[end] == '\r';
        if (line_.empty()) {
            take_line(bytes.substr(0, end));
        } else {
            line_ += bytes.substr(0, end);
            const std::string line = std::move(line_);
            line_.clear();
            take_line(line);
        }
        bytes.remove_prefix(end + 1);
    }
}

void SseParser::take_line(std::string_view line) {
    if (at_start_) {
        at_start_ = false;
        if (line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
    }
    if (line.empty()) {
        if (has_data_) ready_.push_back(event_);
        event_.type.clear();
        event_.data.clear();
        has_field_ = has_data_ = false;
        return;
    }
    if (line.front() == ':') return;
    has_field_ = true;
    const std::size_t colon = line.find(':');
    const std::string_view name = line.substr(0, colon);
    std::string_view value = colon == std::string_view::npos ? std::string_view{} : line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (name == "data") {
        if (has_data_) event_.data += '\n';
        event_.data += value;
        has_data_ = true;
    } else if (name == "event") {
        event_.type = value;
    } else if (name == "id" && value.find('\0') == std::string_view::npos) {
        event_.id = value;
    }
}

std::optional<SseEvent> SseParser::next() {
    if (ready_.empty()) return std::nullopt;
    SseEvent event = std::move(ready_.front());
    ready_.pop_front();
    return event;
}

}  // namespace koyeb::sandbox
