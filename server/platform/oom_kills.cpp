#include "platform/oom_kills.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <string_view>

#include "platform/own_cgroup.hpp"

namespace sandbox {
namespace {

UniqueFd open_counter() {
    const std::string unified = own_cgroup();
    const std::string memory = own_cgroup_v1("memory");
    UniqueFd file;
    if (!unified.empty()) file.reset(::open((unified + "/memory.events").c_str(), O_RDONLY | O_CLOEXEC));
    if (!file && !memory.empty())
        file.reset(::open((memory + "/memory.oom_control").c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) file.reset(::open("/proc/vmstat", O_RDONLY | O_CLOEXEC));
    return file;
}

std::uint64_t parse(std::string_view text) {
    static constexpr std::string_view kName = "oom_kill ";
    std::uint64_t count = 0;
    std::size_t at = text.starts_with(kName) ? 0 : text.find("\noom_kill ");
    if (at == std::string_view::npos) return 0;
    if (at > 0) ++at;
    const std::string_view digits = text.substr(at + kName.size());
    std::from_chars(digits.data(), digits.data() + digits.size(), count);
    return count;
}

}  // namespace

OomKills::OomKills() : file_(open_counter()) { now(); }

OomKills::OomKills(const std::string& path) : file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) { now(); }

std::uint64_t OomKills::recent() {
    return std::chrono::steady_clock::now() - read_at_ < kRecent ? count_ : now();
}

std::uint64_t OomKills::now() {
    read_at_ = std::chrono::steady_clock::now();
    char text[16384];  // All of /proc/vmstat; one read tells a state of one moment.
    const ssize_t size = file_ ? ::pread(file_.get(), text, sizeof text, 0) : 0;
    if (size > 0) count_ = parse({text, static_cast<std::size_t>(size)});
    return count_;
}

}  // namespace sandbox
