#include "e2b/multipart.hpp"

#include <algorithm>

#include "e2b/http_values.hpp"

namespace sandbox::e2b {
namespace {

Error malformed(std::string message) {
    return Error{Errc::invalid_argument, "multipart: " + std::move(message), 0};
}

// The lines of a part's head without the last line break.
PartHead parse_head(std::string_view text) {
    PartHead head;
    while (!text.empty()) {
        std::size_t end = text.find("\r\n");
        std::string_view line = text.substr(0, end);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 2);
        std::size_t colon = line.find(':');
        if (colon == std::string_view::npos ||
            !equal_ignoring_case(line.substr(0, colon), "content-disposition"))
            continue;
        HeaderValue value = parse_header_value(line.substr(colon + 1));
        if (const std::string* name = value.parameter("name")) head.name = *name;
        if (const std::string* filename = value.parameter("filename")) head.filename = *filename;
    }
    return head;
}

}  // namespace

MultipartReader::MultipartReader(std::string_view boundary) : delimiter_("\r\n--") { delimiter_ += boundary; }

void MultipartReader::feed(std::string_view bytes) {
    data_ = {};
    if (state_ == State::end) return;
    buffer_.erase(0, at_);
    at_ = 0;
    buffer_ += bytes;
}

Result<MultipartReader::Event> MultipartReader::next() {
    switch (state_) {
        case State::preamble:
            return read_preamble();
        case State::after_boundary:
            return read_after_boundary();
        case State::head:
            return read_head();
        case State::body:
            return read_body();
        default:
            return Event::end;
    }
}

MultipartReader::Found MultipartReader::find_boundary(std::string_view text) const {
    for (std::size_t from = 0;;) {
        std::size_t at = text.find(delimiter_, from);
        if (at == std::string_view::npos) break;
        std::size_t behind = at + delimiter_.size();
        if (behind == text.size()) return {at, false};
        // A longer word that begins like the boundary is none.
        char c = text[behind];
        if (c == '-' || c == '\r' || c == ' ' || c == '\t') return {at, true};
        from = at + 1;
    }
    // The beginning of a boundary may stand at the end.
    std::size_t kept = std::min(text.size(), delimiter_.size() - 1);
    for (std::size_t at = text.size() - kept; at < text.size(); ++at) {
        if (text[at] == '\r' && delimiter_.starts_with(text.substr(at))) return {at, false};
    }
    return {text.size(), false};
}

Result<MultipartReader::Event> MultipartReader::read_preamble() {
    Found found = find_boundary(rest());
    at_ += found.before;
    if (!found.boundary) return Event::need_more;
    at_ += delimiter_.size();
    state_ = State::after_boundary;
    return read_after_boundary();
}

Result<MultipartReader::Behind> MultipartReader::behind_boundary(std::string_view text) {
    std::size_t padding = 0;
    while (padding < text.size() && (text[padding] == ' ' || text[padding] == '\t')) ++padding;
    if (padding > kMaxHead) return malformed("boundary line too long");
    if (text.size() - padding < 2) return Behind{Event::need_more};
    std::string_view sign = text.substr(padding, 2);
    if (sign == "--" && padding == 0) return Behind{Event::end};
    if (sign != "\r\n") return malformed("unexpected bytes behind a boundary");
    return Behind{Event::part, padding};
}

Result<MultipartReader::Event> MultipartReader::read_after_boundary() {
    Result<Behind> behind = behind_boundary(rest());
    if (!behind) return behind.error();
    if (behind->event == Event::end) state_ = State::end;
    if (behind->event != Event::part) return behind->event;
    at_ += behind->padding;  // The line break stays, so that an empty head ends like any other.
    state_ = State::head;
    return read_head();
}

Result<MultipartReader::Event> MultipartReader::read_head() {
    std::string_view text = rest();
    std::size_t end = text.find("\r\n\r\n");
    if (end == std::string_view::npos ? text.size() > kMaxHead : end > kMaxHead) {
        return malformed("head of a part too long");
    }
    if (end == std::string_view::npos) return Event::need_more;
    head_ = parse_head(text.substr(2, end < 2 ? 0 : end - 2));
    at_ += end + 2;  // The last line break may belong to the boundary of an empty part.
    state_ = State::body;
    data_ = {};
    first_of_body_ = true;
    return Event::part;
}

Result<MultipartReader::Event> MultipartReader::read_body() {
    std::string_view text = rest();
    Found found = find_boundary(text);
    // The line break that ends the head is no data; it was left because it may begin the boundary.
    std::size_t skipped = first_of_body_ ? 2 : 0;
    if (found.boundary && found.before <= skipped) {
        // A part that has ended is stored: so not before its boundary is known to be one.
        Result<Behind> behind = behind_boundary(text.substr(found.before + delimiter_.size()));
        if (!behind) return behind.error();
        if (behind->event == Event::need_more) return Event::need_more;
        at_ += found.before + delimiter_.size();
        state_ = State::after_boundary;
        return Event::part_end;
    }
    if (found.before <= skipped) return Event::need_more;
    data_ = text.substr(skipped, found.before - skipped);
    at_ += found.before;
    first_of_body_ = false;
    return Event::data;
}

}  // namespace sandbox::e2b
