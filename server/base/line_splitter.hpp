#pragma once
// Bytes into lines, without losing one: the concatenated text + eol of all pieces is exactly the input.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/utf8.hpp"

namespace sandbox {

struct LinePiece {
    std::string_view text;  // without its line end
    // The very bytes taken off the end: "\n", "\r\n", "\r\r\n"; without the '\n' in the last piece of an
    // input that does not end in one; empty in a partial piece.
    std::string_view eol;
    bool partial = false;  // the line goes on in the next piece
};

enum class CrRule : std::uint8_t {
    all,  // every CR before the line end belongs to it (4096 at most, because they are held back until it
          // comes)
    one,  // at most one
};

// Lines end at '\n'. The last piece of every line has partial == false, and only that one.
//
// A line of more than max_line bytes comes in partial pieces of max_line each, or up to 3 bytes less so that
// no UTF-8 character is cut; CRs that may yet turn out to belong to the line end wait for the next byte. The
// pieces do not depend on how the input was cut into feed() calls, except by flush().
//
// `emit` is called as emit(const LinePiece&), synchronously; the views live until it returns, and it must not
// call back. A line that lies within one feed() is not copied. Memory: max_line plus the largest feed(). Not
// thread-safe.
class LineSplitter {
  public:
    static constexpr std::size_t kDefaultMaxLine = std::size_t{1} << 20;

    // max_line in bytes; less than 4 counts as 4.
    explicit LineSplitter(CrRule rule, std::size_t max_line = kDefaultMaxLine)
        : max_line_(std::max<std::size_t>(max_line, 4)), max_crs_(rule == CrRule::one ? 1 : 4096) {}

    template <class Emit>
    void feed(std::string_view bytes, Emit&& emit) {
        while (!bytes.empty()) {
            const void* newline = std::memchr(bytes.data(), '\n', bytes.size());
            if (newline == nullptr) {
                hold(bytes, emit);
                return;
            }
            const auto length =
                static_cast<std::size_t>(static_cast<const char*>(newline) - bytes.data()) + 1;
            if (held_.empty()) {
                emit_line(bytes.substr(0, length), 1, emit);
            } else {
                held_.append(bytes.substr(0, length));
                emit_line(held_, 1, emit);
                held_.clear();
            }
            bytes.remove_prefix(length);
        }
    }

    // The end of the input: what is held is the last line. A line whose beginning went out as partial pieces
    // is closed, by an empty piece when nothing of it is left. Ready for a new input.
    template <class Emit>
    void finish(Emit&& emit) {
        if (!held_.empty() || line_open_) emit_line(held_, 0, emit);
        held_.clear();
    }

    // Sends what is held of an unfinished line as a partial piece now; true when there was one. CRs at its
    // end and the bytes of an incomplete UTF-8 character stay held, since the next byte decides about them.
    template <class Emit>
    bool flush(Emit&& emit) {
        std::string_view ready = held_;
        const std::size_t crs = trailing_crs(ready);
        ready.remove_suffix(crs != 0 ? crs : incomplete_suffix(ready));
        if (ready.empty()) return false;
        line_open_ = true;
        emit(LinePiece{ready, {}, true});
        held_.erase(0, ready.size());
        return true;
    }

    // Bytes that wait for the rest of their line.
    std::size_t held() const { return held_.size(); }

  private:
    // A whole line of which the last `newline` (0 or 1) bytes are its '\n'.
    template <class Emit>
    void emit_line(std::string_view line, std::size_t newline, Emit& emit) {
        const std::size_t end = line.size() - newline;
        const std::size_t text_size = end - trailing_crs(line.substr(0, end));
        const std::size_t from = emit_long(line, text_size, emit);
        line_open_ = false;
        emit(LinePiece{line.substr(from, text_size - from), line.substr(text_size), false});
    }

    template <class Emit>
    void hold(std::string_view bytes, Emit& emit) {
        std::size_t from = 0;
        if (held_.empty()) {
            from = emit_long(bytes, bytes.size() - trailing_crs(bytes), emit);
            held_.assign(bytes.substr(from));
        } else {
            held_.append(bytes);
            from = emit_long(held_, held_.size() - trailing_crs(held_), emit);
            held_.erase(0, from);
        }
    }

    // Emits partial pieces as long as more than max_line of the first text_size bytes are left; returns where
    // the rest begins.
    template <class Emit>
    std::size_t emit_long(std::string_view bytes, std::size_t text_size, Emit& emit) {
        std::size_t from = 0;
        while (text_size - from > max_line_) {
            const std::size_t size = piece_size(bytes.substr(from));
            line_open_ = true;
            emit(LinePiece{bytes.substr(from, size), {}, true});
            from += size;
        }
        return from;
    }

    // max_line, or less when that would cut a character. Looks at no more than max_line + 1 bytes, so that
    // the answer is the same however much of the line has arrived.
    std::size_t piece_size(std::string_view bytes) const {
        const char* const cut = bytes.data() + max_line_;
        for (std::size_t back = 1; back <= 3; ++back) {
            const char* lead = cut - back;
            if ((static_cast<unsigned char>(*lead) & 0xC0u) == 0x80u) continue;
            const Utf8Step step = utf8_step(lead, cut + 1);
            const bool cuts = step.kind != Utf8Step::Kind::bad && step.length > back;
            return cuts ? max_line_ - back : max_line_;
        }
        return max_line_;
    }

    std::size_t trailing_crs(std::string_view bytes) const {
        const std::size_t most = std::min(max_crs_, bytes.size());
        std::size_t count = 0;
        while (count < most && bytes[bytes.size() - 1 - count] == '\r') ++count;
        return count;
    }

    // How many bytes at the end begin a UTF-8 character that is not complete.
    static std::size_t incomplete_suffix(std::string_view bytes) {
        const char* const end = bytes.data() + bytes.size();
        for (std::size_t back = 1; back <= std::min<std::size_t>(3, bytes.size()); ++back) {
            if ((static_cast<unsigned char>(end[-static_cast<std::ptrdiff_t>(back)]) & 0xC0u) == 0x80u)
                continue;
            const Utf8Step step = utf8_step(end - back, end);
            return step.kind == Utf8Step::Kind::need_more ? back : 0;
        }
        return 0;
    }

    std::size_t max_line_;
    std::size_t max_crs_;
    std::string held_;
    bool line_open_ = false;  // the last piece emitted was partial
};

}  // namespace sandbox
