#include "platform/oom_kills.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <string_view>
#include <utility>

#include "platform/own_cgroup.hpp"

namespace sandbox {
namespace {

UniqueFd open_to_read(const std::string& path) {
    return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

UniqueFd open_in(const std::string& cgroup, const char* name) {
    return cgroup.empty() ? UniqueFd() : open_to_read(cgroup + name);
}

UniqueFd open_counter() {
    UniqueFd file = open_in(own_cgroup(), "/memory.events");
    if (!file) file = open_in(own_cgroup_v1("memory"), "/memory.oom_control");
    return file ? std::move(file) : open_to_read("/proc/vmstat");
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

OomKills::OomKills(const std::string& path) : file_(open_to_read(path)) { now(); }

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
