#pragma once
// The local side of an interactive command: standard input, and the terminal that it may be.

#include <termios.h>

#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <koyeb/sandbox/awaitable.hpp>
#include <koyeb/sandbox/types.hpp>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace cli {

// Standard input as an awaitable, read on a thread of its own: making the descriptor non-blocking would
// change it for everybody who shares it, and a file cannot be waited for.
class InputReader {
  public:
    explicit InputReader(const boost::asio::any_io_executor& executor);
    ~InputReader();
    InputReader(const InputReader&) = delete;
    InputReader& operator=(const InputReader&) = delete;

    // What is there next; empty at the end. No more than one piece is read ahead.
    koyeb::sandbox::Awaitable<std::string> next();

  private:
    void run();
    bool wait_readable() const;
    // False when nobody wants it any more.
    bool hand_over(std::string piece);

    boost::asio::steady_timer ready_;
    int wake_[2] = {-1, -1};
    std::mutex mutex_;
    std::condition_variable changed_;
    std::optional<std::string> piece_;
    bool closed_ = false;
    std::thread thread_;
};

// Raw mode of the terminal on standard input, for as long as this lives.
class RawTerminal {
  public:
    RawTerminal();
    ~RawTerminal();
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;

  private:
    termios saved_ = {};
};

// Of the terminal on standard input; 80 x 24 when it does not say.
koyeb::sandbox::TerminalSize terminal_size();

}  // namespace cli
