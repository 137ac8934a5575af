#pragma once
// Text in which what is lost, doubled or out of order shows.

#include <cstddef>
#include <string>

namespace sandbox::test {

// Words of 10 bytes, numbered from the first call on: nine digits and `end`.
class NumberedWords {
  public:
    explicit NumberedWords(char end) : end_(end) {}

    std::string next(std::size_t count) {
        std::string text;
        for (std::size_t i = 0; i < count; ++i) {
            std::string number = std::to_string(next_++);
            text += std::string(9 - number.size(), '0') + number + end_;
        }
        return text;
    }

  private:
    char end_;
    std::size_t next_ = 0;
};

}  // namespace sandbox::test
