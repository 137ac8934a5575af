#pragma once
// A program on a pseudo-terminal, as a user sits before it.

#include <sys/types.h>
#include <termios.h>

#include <string>
#include <string_view>
#include <vector>

#include "support.hpp"

namespace e2e {

class Terminal {
  public:
    // `variables` as for run_program().
    Terminal(std::vector<std::string> words, const Variables& variables, unsigned short cols = 80,
             unsigned short rows = 24);
    ~Terminal();
    Terminal(const Terminal&) = delete;
    Terminal& operator=(const Terminal&) = delete;

    void type(std::string_view keys);
    // Reads until `text` stands in what came since the last call. Fails the test after ten seconds, or when
    // the program has ended before.
    void expect(std::string_view text);
    void resize(unsigned short cols, unsigned short rows);
    // Hangs up: nobody sits there any more.
    void close();
    void signal(int number) const;
    // The exit code, 128 + n for a signal.
    int wait();
    // What the program has set the terminal to.
    termios settings() const;
    // Everything it showed.
    const std::string& shown() const { return shown_; }

  private:
    bool read_some();
    int master_ = -1;
    int slave_ = -1;  // keeps what was shown, and its settings, when the program has ended
    pid_t pid_ = -1;
    std::string shown_;
    std::size_t seen_ = 0;
};

// Whether it is in the mode in which shells leave it: lines, echo, signals.
bool is_cooked(const termios& settings);

}  // namespace e2e
