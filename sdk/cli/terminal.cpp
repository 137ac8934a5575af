#include "terminal.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <system_error>
#include <utility>

namespace cli {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kPiece = 256 * 1024;

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

}  // namespace

InputReader::InputReader(const asio::any_io_executor& executor)
    : ready_(executor, asio::steady_timer::time_point::max()) {
    if (::pipe2(wake_, O_CLOEXEC) != 0) fail("cannot make a pipe");
    thread_ = std::thread([this] { run(); });
}

InputReader::~InputReader() {
    {
        const std::lock_guard lock(mutex_);
        closed_ = true;
    }
    changed_.notify_all();
    ::close(wake_[1]);
    thread_.join();
    ::close(wake_[0]);
}

// False when it is to end.
bool InputReader::wait_readable() const {
    for (;;) {
        pollfd wanted[2] = {{STDIN_FILENO, POLLIN, 0}, {wake_[0], POLLIN, 0}};
        if (::poll(wanted, 2, -1) < 0 && errno != EINTR) return false;
        if (wanted[1].revents != 0) return false;
        if (wanted[0].revents != 0) return true;
    }
}

bool InputReader::hand_over(std::string piece) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return closed_ || !piece_; });
    if (closed_) return false;
    piece_ = std::move(piece);
    // Under the lock, so that the timer is still there.
    asio::post(ready_.get_executor(), [this] { ready_.cancel(); });
    return true;
}

void InputReader::run() {
    std::string buffer(kPiece, '\0');
    while (wait_readable()) {
        const ssize_t n = ::read(STDIN_FILENO, buffer.data(), buffer.size());
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        const std::size_t length = n > 0 ? static_cast<std::size_t>(n) : 0;
        // What cannot be read has ended: a terminal that is gone says so by an error.
        if (!hand_over(buffer.substr(0, length)) || length == 0) return;
    }
}

koyeb::sandbox::Awaitable<std::string> InputReader::next() {
    for (;;) {
        {
            const std::lock_guard lock(mutex_);
            if (piece_) {
                std::string piece = std::move(*piece_);
                // The end stays.
                if (!piece.empty()) piece_.reset();
                changed_.notify_all();
                co_return piece;
            }
        }
        co_await ready_.async_wait(asio::as_tuple(asio::use_awaitable));
    }
}

RawTerminal::RawTerminal() {
    if (::tcgetattr(STDIN_FILENO, &saved_) != 0) fail("cannot look at the terminal");
    termios raw = saved_;
    ::cfmakeraw(&raw);
    if (::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) != 0) fail("cannot set up the terminal");
}

RawTerminal::~RawTerminal() { ::tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_); }

koyeb::sandbox::TerminalSize terminal_size() {
    winsize window = {};
    koyeb::sandbox::TerminalSize size;
    if (::ioctl(STDIN_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 && window.ws_row > 0) {
        size.cols = window.ws_col;
        size.rows = window.ws_row;
    }
    return size;
}

}  // namespace cli
