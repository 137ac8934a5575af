#include "terminal.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>
#include <utility>

namespace e2e {

Terminal::Terminal(std::vector<std::string> words, const Variables& variables, unsigned short cols,
                   unsigned short rows) {
    master_ = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    char name[128];
    if (master_ < 0 || ::grantpt(master_) != 0 || ::unlockpt(master_) != 0 ||
        ::ptsname_r(master_, name, sizeof name) != 0)
        throw std::runtime_error("no pseudo-terminal");
    slave_ = ::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    resize(cols, rows);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    // The first terminal that a session leader opens becomes the session's.
    posix_spawn_file_actions_addopen(&actions, 0, name, O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, 0, 1);
    posix_spawn_file_actions_adddup2(&actions, 0, 2);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    std::vector<std::string> env = environment(variables);
    const int error = ::posix_spawnp(&pid_, words[0].c_str(), &actions, &attributes, pointers(words).data(),
                                     pointers(env).data());
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::runtime_error("cannot start " + words[0] + ": " + std::strerror(error));
}

Terminal::~Terminal() {
    if (pid_ > 0) {
        ADD_FAILURE() << "still running; it showed: " << shown_;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    close();
    if (slave_ >= 0) ::close(slave_);
}

void Terminal::type(std::string_view keys) {
    EXPECT_EQ(::write(master_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
}

bool Terminal::read_some() {
    pollfd wanted{master_, POLLIN, 0};
    if (::poll(&wanted, 1, 10000) <= 0) return false;
    char bytes[65536];
    const ssize_t n = ::read(master_, bytes, sizeof bytes);
    if (n <= 0) return false;
    shown_.append(bytes, static_cast<std::size_t>(n));
    return true;
}

void Terminal::expect(std::string_view text) {
    std::size_t at = 0;
    while ((at = shown_.find(text, seen_)) == std::string::npos) {
        if (read_some()) continue;
        ADD_FAILURE() << "expected: " << text << "\nshown: " << shown_.substr(seen_);
        return;
    }
    seen_ = at + text.size();
}

void Terminal::resize(unsigned short cols, unsigned short rows) {
    winsize size{};
    size.ws_col = cols;
    size.ws_row = rows;
    EXPECT_EQ(::ioctl(master_, TIOCSWINSZ, &size), 0);
}

void Terminal::close() {
    // The last one of both ends: the program's own do not keep it open.
    if (slave_ >= 0) ::close(std::exchange(slave_, -1));
    if (master_ >= 0) ::close(std::exchange(master_, -1));
}

void Terminal::signal(int number) const { ::kill(pid_, number); }

int Terminal::wait() {
    int status = 0;
    const bool ended = eventually([this, &status] {
        pollfd wanted{master_, POLLIN, 0};
        if (master_ >= 0 && ::poll(&wanted, 1, 0) > 0) read_some();
        return ::waitpid(pid_, &status, WNOHANG) == pid_;
    });
    if (!ended) return -1;
    pid_ = -1;
    pollfd wanted{master_, POLLIN, 0};
    while (master_ >= 0 && ::poll(&wanted, 1, 0) > 0 && read_some()) {
    }
    return exit_code(status);
}

termios Terminal::settings() const {
    termios now{};
    EXPECT_EQ(::tcgetattr(slave_, &now), 0);
    return now;
}

bool is_cooked(const termios& settings) {
    const tcflag_t wanted = ICANON | ECHO | ISIG;
    return (settings.c_lflag & wanted) == wanted && (settings.c_oflag & OPOST) != 0 &&
           (settings.c_iflag & ICRNL) != 0;
}

}  // namespace e2e
