#pragma once
// Reads one HTTP/1.1 answer from bytes as they come; keeps its head and the last bytes of its body.

#include <strings.h>

#include "tools.hpp"

namespace bench {

class Answer {
  public:
    // True once the answer is complete. Bytes beyond it are an error, since nobody here sends requests ahead.
    bool feed(std::string_view bytes) {
        while (!bytes.empty()) {
            if (state_ == State::complete) fail("bytes behind the answer");
            bytes.remove_prefix(state_ == State::head || state_ == State::size_line ||
                                        state_ == State::trailer
                                    ? take_text(bytes)
                                    : take_body(bytes));
        }
        return state_ == State::complete;
    }

    int status() const { return status_; }
    std::uint64_t body_bytes() const { return body_bytes_; }
    // The last bytes of the body, some hundred at most.
    std::string_view tail() const {
        return std::string_view(tail_).substr(tail_.size() - std::min<std::size_t>(tail_.size(), kTail));
    }

    void reset() { *this = Answer(); }

  private:
    enum class State { head, body, size_line, chunk, chunk_end, trailer, complete };
    static constexpr std::size_t kTail = 200;

    // Gathers text up to its end mark.
    std::size_t take_text(std::string_view bytes) {
        const std::string_view mark = state_ == State::head ? "\r\n\r\n" : "\r\n";
        const std::size_t before = text_.size();
        text_.append(bytes.substr(0, std::min<std::size_t>(bytes.size(), 65536)));
        const std::size_t end = text_.find(mark, before < mark.size() ? 0 : before - mark.size());
        if (end == std::string::npos) {
            if (text_.size() > 65536) fail("an endless head");
            return text_.size() - before;
        }
        const std::size_t used = end + mark.size() - before;
        text_.resize(end);
        if (state_ == State::head) {
            parse_head();
        } else if (state_ == State::size_line) {
            left_ = std::strtoull(text_.c_str(), nullptr, 16);
            state_ = left_ == 0 ? State::trailer : State::chunk;
        } else {
            state_ = State::complete;
        }
        text_.clear();
        return used;
    }

    std::size_t take_body(std::string_view bytes) {
        const std::size_t used = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
        left_ -= used;
        if (state_ != State::chunk_end) {
            body_bytes_ += used;
            if (tail_.size() > 4 * kTail) tail_.erase(0, tail_.size() - kTail);
            tail_.append(bytes.substr(used - std::min(used, kTail), std::min(used, kTail)));
        }
        if (left_ != 0) return used;
        if (state_ == State::body) {
            state_ = State::complete;
        } else if (state_ == State::chunk) {
            state_ = State::chunk_end;
            left_ = 2;
        } else {
            state_ = State::size_line;
        }
        return used;
    }

    void parse_head() {
        status_ = text_.size() > 12 ? std::atoi(text_.c_str() + 9) : 0;
        if (const char* length = strcasestr(text_.c_str(), "\r\ncontent-length:")) {
            left_ = std::strtoull(length + 17, nullptr, 10);
            state_ = left_ == 0 ? State::complete : State::body;
        } else if (strcasestr(text_.c_str(), "\r\ntransfer-encoding: chunked") != nullptr) {
            state_ = State::size_line;
        } else {
            fail("an answer without a length: " + text_);
        }
    }

    State state_ = State::head;
    int status_ = 0;
    std::uint64_t left_ = 0;
    std::uint64_t body_bytes_ = 0;
    std::string text_;
    std::string tail_;
};

}  // namespace bench
