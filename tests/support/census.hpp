#pragma once
// What a test must not leave behind: descriptors and children. And the daemon's own process set-up, which
// tests of signals and children need as much as the daemon does.

#include <dirent.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <thread>

#include "platform/signals.hpp"

namespace sandbox::test {

// What the open descriptors refer to, and how many do. Not their numbers: those of descriptors that are given
// up and taken again may change.
inline std::map<std::string, int> descriptors() {
    std::map<std::string, int> open;
    DIR* directory = ::opendir("/proc/self/fd");
    if (directory == nullptr) return open;
    while (const dirent* entry = ::readdir(directory)) {
        if (entry->d_name[0] == '.' || std::atoi(entry->d_name) == ::dirfd(directory)) continue;
        char target[256] = {};
        std::string path = "/proc/self/fd/" + std::string(entry->d_name);
        if (::readlink(path.c_str(), target, sizeof target - 1) >= 0) ++open[target];
    }
    ::closedir(directory);
    return open;
}

// Compares the descriptors at its end with those at its beginning.
class DescriptorCensus {
  public:
    void check() const {
        for (const auto& [target, count] : descriptors()) {
            auto found = before_.find(target);
            int allowed = found == before_.end() ? 0 : found->second;
            EXPECT_LE(count, allowed) << "left open: " << target;
        }
    }

  private:
    const std::map<std::string, int> before_ = descriptors();
};

// True when this process has no child, neither a running one nor a zombie. Reaps nothing.
inline bool has_no_children() {
    siginfo_t info{};
    return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 && errno == ECHILD;
}

// Reaps children until there are none, and tells whether that came to pass. For tests that drive no Reaper.
inline bool reap_all(std::chrono::seconds patience = std::chrono::seconds(20)) {
    auto deadline = std::chrono::steady_clock::now() + patience;
    for (;;) {
        pid_t pid = ::waitpid(-1, nullptr, WNOHANG);
        if (pid < 0 && errno == ECHILD) return true;
        if (pid != 0) continue;
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

// Polls for what other processes do in their own time.
template <class Condition>
bool eventually(Condition condition, std::chrono::seconds patience = std::chrono::seconds(20)) {
    auto deadline = std::chrono::steady_clock::now() + patience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

// Signals blocked, SIGPIPE ignored, subreaper: as main() does it, before any thread exists. Once a program.
class DaemonProcess : public testing::Environment {
    void SetUp() override { prepare_process(); }
};
inline testing::Environment* const kDaemonProcess = testing::AddGlobalTestEnvironment(new DaemonProcess);

}  // namespace sandbox::test
