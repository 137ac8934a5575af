#include "census.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "platform/cgroup.hpp"

namespace sandbox::chaos {
namespace {

std::size_t status_number(pid_t pid, const std::string& name) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    for (std::string word; status >> word;) {
        std::size_t number = 0;
        if (word == name + ":" && status >> number) return number;
    }
    return 0;
}

class NeedsRoot : public testing::Environment {
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root, to look at the descriptors of the daemon";
    }
};
[[maybe_unused]] const testing::Environment* const needs_root =
    testing::AddGlobalTestEnvironment(new NeedsRoot);  // which owns it

const std::string kCgroup = "cgroup";
const std::string kCgroupEvents = "cgroup.events";

// What is the same thing under many names, by its kind. A removed cgroup is "... (deleted)" and no spare one.
std::string kind_of(std::string target, pid_t pid) {
    const std::string pool = "/sandbox-executor-" + std::to_string(pid) + "/";
    if (const std::size_t at = target.find(pool);
        at != std::string::npos && target.starts_with("/sys/fs/cgroup")) {
        std::size_t rest = target.find_first_not_of("0123456789", at + pool.size());
        if (rest == std::string::npos) return kCgroup;
        if (target.substr(rest) == "/cgroup.events") return kCgroupEvents;
    }
    // "socket:[123]" and "/tmp/#123 (deleted)".
    target.resize(std::min({target.size(), target.find('['), target.find('#')}));
    return target;
}

}  // namespace

Census Census::of(const e2e::Daemon& daemon) {
    Census census;
    const std::string process = "/proc/" + std::to_string(daemon.pid());
    for (const auto& entry : std::filesystem::directory_iterator(process + "/fd")) {
        std::error_code gone;
        const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
        if (gone) continue;
        ++census.descriptors[kind_of(target, daemon.pid())];
    }
    census.threads = status_number(daemon.pid(), "Threads");
    census.rss_kib = status_number(daemon.pid(), "VmRSS");
    census.offspring = daemon.offspring().size();
    return census;
}

std::string Census::excess_over(const Census& before, std::size_t idle_pipes) const {
    const auto cgroups = static_cast<int>(CgroupPool::kMostSpare + offspring);
    std::string text;
    for (const auto& [target, count] : descriptors) {
        const auto found = before.descriptors.find(target);
        const int had = found == before.descriptors.end() ? 0 : found->second;
        int allowed = had;
        if (target == kCgroup || target == kCgroupEvents) allowed = std::max(had, cgroups);
        if (target == "pipe:") allowed = had + 2 * static_cast<int>(idle_pipes);
        if (count > allowed)
            text += target + ": " + std::to_string(had) + " -> " + std::to_string(count) + "; ";
    }
    if (threads > before.threads) {
        text += "threads: " + std::to_string(before.threads) + " -> " + std::to_string(threads) + "; ";
    }
    if (offspring > before.offspring) {
        text += "processes: " + std::to_string(before.offspring) + " -> " + std::to_string(offspring) + "; ";
    }
    return text;
}

bool comes_to_pass(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
}

bool is_slow() {
    const char* slow = std::getenv("SANDBOX_SLOW");
    return slow != nullptr && std::string(slow) == "1";
}

}  // namespace sandbox::chaos
