#include "support.hpp"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>
#include <sstream>

namespace e2e {
namespace {

std::string file_content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream content;
    content << file.rdbuf();
    return content.str();
}

std::vector<pid_t> marked(const std::string& mark) {
    std::vector<pid_t> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
        const std::string name = entry.path().filename().string();
        if (name.find_first_not_of("0123456789") != std::string::npos) continue;
        if (file_content("/proc/" + name + "/environ").find(mark) == std::string::npos) continue;
        // A zombie is not our daemon's to reap any more once the daemon is gone.
        const std::string stat = file_content("/proc/" + name + "/stat");
        const std::size_t end = stat.rfind(')');
        if (end != std::string::npos && stat.size() > end + 2 && stat[end + 2] == 'Z') continue;
        found.push_back(std::stoi(name));
    }
    return found;
}

// A number behind " port=" in the line that holds `message`; 0 when it has not come.
int port_in(const std::string& log, const std::string& message) {
    const std::size_t line = log.find(message);
    if (line == std::string::npos) return 0;
    const std::size_t end = log.find('\n', line);
    const std::size_t port = log.find(" port=", line);
    return end == std::string::npos || port > end ? 0 : std::atoi(log.c_str() + port + 6);
}

}  // namespace

bool eventually(const std::function<bool()>& condition) {
    const auto limit = Clock::now() + std::chrono::seconds(10);
    while (!condition()) {
        if (Clock::now() > limit) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
}

struct Daemon::Log {
    std::mutex mutex;
    std::string text;
};

Daemon::Daemon(Variables variables) : log_(std::make_shared<Log>()) {
    static int count = 0;
    mark_ = "SANDBOX_TEST_MARK=" + std::to_string(::getpid()) + "-" + std::to_string(++count);
    variables["PORT"] = "0";
    variables["PROXY_PORT"] = "0";
    variables["TEST_MARK"] = mark_;
    Pipe err;
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_ = spawn({SANDBOX_EXECUTOR}, variables, null, null, err.fds[1]);
    ::close(null);
    err.close_write();
    reader_ = std::thread([log = log_, fd = std::exchange(err.fds[0], -1)] {
        char bytes[4096];
        ssize_t n = 0;
        while ((n = ::read(fd, bytes, sizeof bytes)) > 0) {
            const std::lock_guard lock(log->mutex);
            log->text.append(bytes, static_cast<std::size_t>(n));
        }
        ::close(fd);
    });
    eventually([this] {
        port_ = port_in(log(), "Starting sandbox-executor");
        proxy_port_ = port_in(log(), "Starting TCP proxy");
        return port_ != 0 && proxy_port_ != 0;
    });
    if (proxy_port_ == 0) ADD_FAILURE() << "the daemon did not start: " << log();
}

int Daemon::stop() {
    if (pid_ < 0) return -1;
    ::kill(pid_, SIGTERM);
    int status = 0;
    const pid_t pid = std::exchange(pid_, -1);
    const bool ended = eventually([pid, &status] { return ::waitpid(pid, &status, WNOHANG) == pid; });
    if (!ended) {
        ADD_FAILURE() << "the daemon does not end";
        ::kill(pid, SIGKILL);
        ::waitpid(pid, &status, 0);
    }
    const auto left = marked(mark_);
    for (const pid_t process : left) {
        ADD_FAILURE() << "left behind: " << process << " "
                      << file_content("/proc/" + std::to_string(process) + "/cmdline");
        ::kill(process, SIGKILL);
    }
    return exit_code(status);
}

void Daemon::expect_death() {
    const pid_t pid = std::exchange(pid_, -1);
    EXPECT_TRUE(eventually([pid] { return ::waitpid(pid, nullptr, WNOHANG) == pid; }));
    EXPECT_TRUE(eventually([this] { return marked(mark_).empty(); }));
}

Daemon::~Daemon() {
    stop();
    // It ends with the last holder of the daemon's stderr, which is gone by now.
    reader_.join();
}

koyeb::sandbox::ConnectionInfo Daemon::info(const std::string& secret) const {
    koyeb::sandbox::ConnectionInfo info;
    info.url = url();
    info.secret = secret;
    return info;
}

std::vector<pid_t> Daemon::offspring() const {
    std::vector<pid_t> found = marked(mark_);
    std::erase(found, pid_);
    return found;
}

std::size_t Daemon::descriptors() const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(pid_) + "/fd")) {
        std::error_code gone;
        const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
        if (target.starts_with("socket:") || target.starts_with("pipe:") ||
            target.find("pidfd") != std::string::npos)
            ++count;
    }
    return count;
}

std::string Daemon::log() const {
    const std::lock_guard lock(log_->mutex);
    return log_->text;
}

namespace {

std::unique_ptr<Daemon> shared_daemon;

// Ended before the result is told, so that what it left behind counts.
class EndDaemon : public testing::Environment {
  public:
    void TearDown() override {
        if (!shared_daemon) return;
        EXPECT_EQ(shared_daemon->stop(), 0) << shared_daemon->log();
        shared_daemon.reset();
    }
};

const auto* const kEndDaemon = testing::AddGlobalTestEnvironment(new EndDaemon);

}  // namespace

Daemon& daemon() {
    if (!shared_daemon) shared_daemon = std::make_unique<Daemon>();
    return *shared_daemon;
}

koyeb::sandbox::Sandbox connect() { return koyeb::sandbox::Sandbox::connect(daemon().info()); }

RawSocket::RawSocket(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    void* raw = &address;
    EXPECT_EQ(::connect(fd_, static_cast<sockaddr*>(raw), sizeof address), 0);
}

RawSocket::~RawSocket() {
    if (fd_ >= 0) ::close(fd_);
}

bool RawSocket::send(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n <= 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
}

void RawSocket::half_close() { ::shutdown(fd_, SHUT_WR); }

void RawSocket::reset() {
    const linger hard{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    ::close(std::exchange(fd_, -1));
}

std::string RawSocket::read_all() { return read_until({}); }

std::string RawSocket::read_until(std::string_view text) {
    std::string all;
    char bytes[65536];
    while (text.empty() || all.find(text) == std::string::npos) {
        pollfd wanted{fd_, POLLIN, 0};
        if (::poll(&wanted, 1, 10000) <= 0) break;
        const ssize_t n = ::recv(fd_, bytes, sizeof bytes, 0);
        if (n <= 0) break;
        all.append(bytes, static_cast<std::size_t>(n));
    }
    return all;
}

std::string random_bytes(std::size_t size, unsigned seed) {
    std::mt19937_64 engine(seed);
    std::string bytes;
    bytes.reserve(size + 8);
    while (bytes.size() < size) {
        std::uint64_t word = engine();
        for (int i = 0; i < 8; ++i, word >>= 8U) bytes += static_cast<char>(word & 255U);
    }
    bytes.resize(size);
    return bytes;
}

}  // namespace e2e
