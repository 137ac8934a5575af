#pragma once
// A strict reader of HTTP/1.1 answers, to judge what the server wrote. It shares no code with the server.

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sandbox::test {

struct Answer {
    int status = 0;
    std::map<std::string, std::string> headers;  // names in lower case
    std::string body;
    bool complete = false;    // its end is known by its framing, and has come
    bool to_the_end = false;  // its end is the end of the connection
};

// What a server has sent on one connection.
class AnswerReader {
  public:
    // `is_head(i)` tells whether the i-th answer is one to a HEAD. Interim answers (1xx) are left out.
    template <class IsHead>
    AnswerReader(std::string_view bytes, IsHead is_head) : bytes_(bytes) {
        while (!bytes_.empty() && fault.empty()) {
            Answer answer;
            const bool has_head = read_head(answer);
            if (has_head && answer.status < 200) continue;
            if (has_head) read_body(answer, is_head(answers.size()));
            answers.push_back(std::move(answer));
            if (!answers.back().complete) return;
        }
    }
    explicit AnswerReader(std::string_view bytes) : AnswerReader(bytes, [](std::size_t) { return false; }) {}

    // Complete ones, and perhaps a last one that is not.
    std::vector<Answer> answers;
    std::string fault;  // what is no HTTP; empty: nothing

    std::size_t complete() const {
        return answers.size() - (answers.empty() || answers.back().complete ? 0U : 1U);
    }

  private:
    std::optional<std::string_view> take_line() {
        const std::size_t end = bytes_.find("\r\n");
        if (end == std::string_view::npos) return std::nullopt;
        std::string_view line = bytes_.substr(0, end);
        bytes_.remove_prefix(end + 2);
        return line;
    }
    bool wrong(std::string_view what) {
        fault = what;
        return false;
    }
    bool read_head(Answer& answer) {
        auto line = take_line();
        if (!line) return false;
        if (!line->starts_with("HTTP/1.1 ") || line->size() < 13) return wrong("no status line");
        answer.status = std::atoi(std::string(line->substr(9, 3)).c_str());
        if (answer.status < 100 || answer.status > 599) return wrong("no status");
        for (;;) {
            if (!(line = take_line())) return false;
            if (line->empty()) return true;
            const std::size_t colon = line->find(": ");
            if (colon == std::string_view::npos) return wrong("a header without a colon");
            if (line->find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
                return wrong("a control character in a header");
            }
            std::string name(line->substr(0, colon));
            std::transform(name.begin(), name.end(), name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
            if (!answer.headers.emplace(std::move(name), line->substr(colon + 2)).second) {
                return wrong("a header that is there twice");
            }
        }
    }
    void read_body(Answer& answer, bool to_head) {
        const auto length = answer.headers.find("content-length");
        const bool chunked = answer.headers.contains("transfer-encoding");
        if (chunked && length != answer.headers.end()) {
            wrong("a length of two kinds");
        } else if (to_head || answer.status == 204 || answer.status == 304) {
            answer.complete = true;
        } else if (chunked) {
            answer.complete = read_chunks(answer.body);
        } else if (length != answer.headers.end()) {
            const std::size_t size = std::strtoul(length->second.c_str(), nullptr, 10);
            answer.complete = bytes_.size() >= size;
            answer.body = bytes_.substr(0, size);
            bytes_.remove_prefix(answer.body.size());
        } else {
            answer.body = bytes_;
            answer.to_the_end = true;
            bytes_ = {};
        }
    }
    bool read_chunks(std::string& body) {
        for (;;) {
            auto line = take_line();
            if (!line) return false;
            if (line->empty() || line->find_first_not_of("0123456789abcdef") != std::string_view::npos) {
                return wrong("no size of a chunk");
            }
            const std::size_t size = std::strtoul(std::string(*line).c_str(), nullptr, 16);
            body += bytes_.substr(0, size);
            if (bytes_.size() < size + 2) return false;
            if (bytes_.substr(size, 2) != "\r\n") return wrong("no end of a chunk");
            bytes_.remove_prefix(size + 2);
            if (size == 0) return true;
        }
    }

    std::string_view bytes_;
};

}  // namespace sandbox::test
