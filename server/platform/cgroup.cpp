#include "platform/cgroup.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <deque>
#include <fstream>
#include <mutex>
#include <sstream>

namespace sandbox {
namespace {

constexpr const char* kPrefix = "sandbox-executor-";
constexpr std::size_t kRetries = 4;  // leftover cgroups looked at per new one

std::string read_file(const std::string& path) {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::string text;
    char buffer[4096];
    ssize_t count = 0;
    while (fd && (count = ::read(fd.get(), buffer, sizeof buffer)) > 0)
        text.append(buffer, static_cast<std::size_t>(count));
    return text;
}

// Our own cgroup's directory: the mount of cgroup2 (proc(5), mountinfo) and our path in it. Empty when there
// is none.
std::string own_directory() {
    std::string mount_point;
    std::string mount_root;
    std::ifstream mounts("/proc/self/mountinfo");
    for (std::string line; std::getline(mounts, line);) {
        std::size_t separator = line.find(" - cgroup2 ");
        if (separator == std::string::npos) continue;
        std::istringstream fields(line.substr(0, separator));
        std::string skipped;
        fields >> skipped >> skipped >> skipped >> mount_root >> mount_point;
        break;
    }
    if (mount_point.empty()) return "";
    std::ifstream own("/proc/self/cgroup");
    for (std::string line; std::getline(own, line);) {
        if (!line.starts_with("0::")) continue;
        std::string path = line.substr(3);
        if (mount_root != "/" && path.starts_with(mount_root)) path.erase(0, mount_root.size());
        if (path.find("..") != std::string::npos) return "";
        return path == "/" || path.empty() ? mount_point : mount_point + path;
    }
    return "";
}

// rm -r of cgroups: directories only, children first.
void remove_below(const std::string& path) {
    if (DIR* directory = ::opendir(path.c_str())) {
        while (const dirent* entry = ::readdir(directory)) {
            std::string name = entry->d_name;
            if (entry->d_type == DT_DIR && name != "." && name != "..") remove_below(path + "/" + name);
        }
        ::closedir(directory);
    }
    ::rmdir(path.c_str());
}

// False while somebody lives in it.
bool remove_empty(const std::string& path) {
    if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return true;
    if (read_file(path + "/cgroup.events").find("populated 0") == std::string::npos) return false;
    remove_below(path);  // The command has made cgroups of its own.
    return ::access(path.c_str(), F_OK) != 0;
}

void remove_stale(const std::string& own) {
    DIR* directory = ::opendir(own.c_str());
    if (directory == nullptr) return;
    std::vector<std::string> stale;
    while (const dirent* entry = ::readdir(directory)) {
        std::string name = entry->d_name;
        if (!name.starts_with(kPrefix)) continue;
        pid_t pid = 0;
        std::string digits = name.substr(std::string(kPrefix).size());
        std::from_chars(digits.data(), digits.data() + digits.size(), pid);
        if (pid > 0 && (pid == ::getpid() || (::kill(pid, 0) != 0 && errno == ESRCH)))
            stale.push_back(own + "/" + name);
    }
    ::closedir(directory);
    for (const std::string& path : stale) remove_below(path);
}

void collect(const std::string& path, std::vector<pid_t>& pids) {
    std::string text = read_file(path + "/cgroup.procs");
    const char* at = text.data();
    const char* end = at + text.size();
    while (at < end) {
        pid_t pid = 0;
        auto [next, ec] = std::from_chars(at, end, pid);
        if (ec != std::errc()) break;
        if (pid > 0) pids.push_back(pid);
        at = next + 1;
    }
    if (DIR* directory = ::opendir(path.c_str())) {
        while (const dirent* entry = ::readdir(directory)) {
            std::string name = entry->d_name;
            if (entry->d_type == DT_DIR && name != "." && name != "..") collect(path + "/" + name, pids);
        }
        ::closedir(directory);
    }
}

}  // namespace

bool Cgroup::populated() const {
    return read_file(path_ + "/cgroup.events").find("populated 1") != std::string::npos;
}

std::vector<pid_t> Cgroup::processes() const {
    std::vector<pid_t> pids;
    collect(path_, pids);
    return pids;
}

void Cgroup::kill() const {
    UniqueFd fd(::open((path_ + "/cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC));
    if (fd && ::write(fd.get(), "1", 1) == 1) return;
    for (pid_t pid : processes()) ::kill(pid, SIGKILL);  // Before Linux 5.14.
}

struct CgroupPool::Impl {
    std::mutex mutex;
    std::string root;  // empty: not available
    std::uint64_t next = 1;
    std::deque<std::string> leftover;  // still populated when they were given back

    // A few at a time: there may be as many as there are background jobs.
    void retry_leftover() {
        for (std::size_t i = std::min(leftover.size(), kRetries); i > 0; --i) {
            std::string path = std::move(leftover.front());
            leftover.pop_front();
            if (!remove_empty(path)) leftover.push_back(std::move(path));
        }
    }
};

CgroupPool::CgroupPool(bool enabled) : impl_(std::make_unique<Impl>()) {
    if (!enabled) return;
    std::string own = own_directory();
    if (own.empty()) return;
    remove_stale(own);
    std::string root = own + "/" + kPrefix + std::to_string(::getpid());
    if (::mkdir(root.c_str(), 0755) != 0) return;
    if (::access((root + "/cgroup.kill").c_str(), W_OK) != 0) {
        ::rmdir(root.c_str());
        return;
    }
    impl_->root = root;
}

CgroupPool::~CgroupPool() { clean_up(); }

bool CgroupPool::available() const { return !impl_->root.empty(); }

std::unique_ptr<Cgroup> CgroupPool::take() {
    std::lock_guard lock(impl_->mutex);
    if (impl_->root.empty()) return nullptr;
    impl_->retry_leftover();
    std::string path = impl_->root + "/" + std::to_string(impl_->next++);
    if (::mkdir(path.c_str(), 0755) != 0) return nullptr;
    UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory) {
        ::rmdir(path.c_str());
        return nullptr;
    }
    return std::make_unique<Cgroup>(std::move(path), std::move(directory));
}

void CgroupPool::give_back(const Cgroup& cgroup) {
    std::lock_guard lock(impl_->mutex);
    auto known = std::find(impl_->leftover.begin(), impl_->leftover.end(), cgroup.path());
    if (!remove_empty(cgroup.path())) {
        if (known == impl_->leftover.end()) impl_->leftover.push_back(cgroup.path());
    } else if (known != impl_->leftover.end()) {
        impl_->leftover.erase(known);
    }
}

void CgroupPool::clean_up() {
    std::lock_guard lock(impl_->mutex);
    if (impl_->root.empty()) return;
    remove_below(impl_->root);
}

}  // namespace sandbox
