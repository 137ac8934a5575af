#include "platform/cgroup.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstring>
#include <deque>
#include <mutex>
#include <set>
#include <string_view>
#include <utility>

#include "platform/descriptor_reserve.hpp"
#include "platform/own_cgroup.hpp"

namespace sandbox {
namespace {

constexpr const char* kPrefix = "sandbox-executor-";
constexpr std::size_t kRetries = 4;  // leftover cgroups looked at per new one
constexpr std::size_t kMostWatched = 1024;
// Anything that changes a cgroup: a write to one of its files, another owner or mode, a cgroup below it.
constexpr std::uint32_t kChanges = IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_ONLYDIR;

std::string read_file(const std::string& path) {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::string text;
    char buffer[4096];
    ssize_t count = 0;
    while (fd && (count = ::read(fd.get(), buffer, sizeof buffer)) > 0)
        text.append(buffer, static_cast<std::size_t>(count));
    return text;
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

bool is_empty(const std::string& path) {
    return read_file(path + "/cgroup.events").find("populated 0") != std::string::npos;
}

// False while somebody lives in it.
bool remove_empty(const std::string& path) {
    if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return true;
    if (!is_empty(path)) return false;
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

// False: not all could be read.
bool collect(const std::string& path, std::vector<pid_t>& pids) {
    std::string text;
    // A threaded cgroup (EOPNOTSUPP) has none of its own: the one above that is not threaded lists them.
    auto tells = [](int error) {
        return error == 0 || error == ENOENT || error == ENODEV || error == EOPNOTSUPP;
    };
    bool all = tells(read_whole(path + "/cgroup.procs", text));
    const char* at = text.data();
    const char* end = at + text.size();
    while (at < end) {
        pid_t pid = 0;
        auto [next, ec] = std::from_chars(at, end, pid);
        if (ec != std::errc()) break;
        if (pid > 0) pids.push_back(pid);
        at = next + 1;
    }
    std::vector<std::string> below;
    int error = list_directory(path, [&](const dirent64& entry) {
        std::string name = entry.d_name;
        if (entry.d_type == DT_DIR && name != "." && name != "..") below.push_back(path + "/" + name);
    });
    if (!tells(error)) all = false;
    for (const std::string& cgroup : below) {
        if (!collect(cgroup, pids)) all = false;
    }
    return all;
}

}  // namespace

int Cgroup::fd() {
    if (!directory_) directory_.reset(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return directory_.get();
}

void Cgroup::close_fds() {
    directory_.reset();
    events_.reset();
}

bool Cgroup::leave() {
    close_fds();
    return std::exchange(leaving_, true);
}

bool Cgroup::populated() {
    if (!events_) events_.reset(::open((path_ + "/cgroup.events").c_str(), O_RDONLY | O_CLOEXEC));
    char text[256];
    ssize_t count = ::pread(events_.get(), text, sizeof text, 0);
    return count <= 0 || std::string_view(text, static_cast<std::size_t>(count)).find("populated 0") ==
                             std::string_view::npos;
}

std::optional<std::vector<pid_t>> Cgroup::processes() const {
    std::vector<pid_t> pids;
    if (!collect(path_, pids)) return std::nullopt;
    return pids;
}

void Cgroup::kill() const {
    UniqueFd fd = descriptor_reserve().open((path_ + "/cgroup.kill").c_str(), O_WRONLY);
    const bool killed = fd && ::write(fd.get(), "1", 1) == 1;
    descriptor_reserve().put_back(std::move(fd));
    if (killed) return;
    std::vector<pid_t> pids;  // Before Linux 5.14.
    collect(path_, pids);
    for (pid_t pid : pids) ::kill(pid, SIGKILL);
}

struct CgroupPool::Impl {
    std::mutex mutex;
    std::string root;  // empty: not available
    std::uint64_t next = 1;
    std::deque<std::string> leftover;  // still populated when they were given back
    // Empty ones for the next commands; what was changed in one is found out when it is taken.
    std::vector<std::unique_ptr<Cgroup>> spares;
    UniqueFd changes;  // inotify(7)
    std::set<int> watched;
    std::set<int> changed;

    int watch(const std::string& path) {
        if (!changes || watched.size() >= kMostWatched) return -1;
        int added = ::inotify_add_watch(changes.get(), path.c_str(), kChanges);
        if (added >= 0) watched.insert(added);
        return added;
    }

    // A write(2) by anybody has put its event into the queue before it returns.
    void note_changes() {
        alignas(inotify_event) char buffer[4096];
        constexpr ssize_t kRoomLeft = sizeof buffer - sizeof(inotify_event) - NAME_MAX - 1;
        ssize_t count = changes ? sizeof buffer : 0;
        while (count > kRoomLeft && (count = ::read(changes.get(), buffer, sizeof buffer)) > 0) {
            for (const char* at = buffer; at < buffer + count;) {
                inotify_event event;
                std::memcpy(&event, at, sizeof event);
                const char* name = at + sizeof event;
                at += sizeof event + event.len;
                if (event.mask & IN_Q_OVERFLOW) {
                    changed = watched;
                } else if (event.mask & IN_IGNORED) {  // It was removed.
                    watched.erase(event.wd);
                    changed.erase(event.wd);
                } else if (event.len == 0 || std::strcmp(name, "cgroup.events") != 0) {
                    changed.insert(event.wd);  // The kernel's own word about its members is no change.
                }
            }
        }
    }

    void remove(const std::string& path) {
        if (!remove_empty(path)) leftover.push_back(path);
    }

    std::unique_ptr<Cgroup> take_spare() {
        note_changes();
        while (!spares.empty()) {
            std::unique_ptr<Cgroup> spare = std::move(spares.back());
            spares.pop_back();
            if (!changed.contains(spare->watch()) && spare->fd() >= 0) return spare;
            remove(spare->path());
        }
        return nullptr;
    }

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
    std::string own = own_cgroup();
    if (own.empty()) return;
    remove_stale(own);
    std::string root = own + "/" + kPrefix + std::to_string(::getpid());
    if (::mkdir(root.c_str(), 0755) != 0) return;
    if (::access((root + "/cgroup.kill").c_str(), W_OK) != 0) {
        ::rmdir(root.c_str());
        return;
    }
    impl_->root = root;
    impl_->changes.reset(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
}

CgroupPool::~CgroupPool() { clean_up(); }

bool CgroupPool::available() const { return !impl_->root.empty(); }

std::unique_ptr<Cgroup> CgroupPool::take() {
    std::lock_guard lock(impl_->mutex);
    if (impl_->root.empty()) return nullptr;
    impl_->retry_leftover();
    if (std::unique_ptr<Cgroup> spare = impl_->take_spare()) return spare;
    std::string path = impl_->root + "/" + std::to_string(impl_->next++);
    if (::mkdir(path.c_str(), 0755) != 0) return nullptr;
    auto fresh = std::make_unique<Cgroup>(path, impl_->watch(path));
    if (fresh->fd() >= 0) return fresh;
    impl_->remove(path);
    return nullptr;
}

void CgroupPool::give_back(std::unique_ptr<Cgroup> cgroup) {
    if (give_back_if_empty(cgroup)) return;
    std::lock_guard lock(impl_->mutex);
    std::erase(impl_->leftover, cgroup->path());
    impl_->remove(cgroup->path());
}

bool CgroupPool::give_back_if_empty(std::unique_ptr<Cgroup>& cgroup) {
    std::lock_guard lock(impl_->mutex);
    if (cgroup->populated()) return false;
    if (cgroup->leaving()) {
        std::erase(impl_->leftover, cgroup->path());
    } else if (cgroup->watch() >= 0 && impl_->spares.size() < kMostSpare) {
        impl_->spares.push_back(std::move(cgroup));
        return true;
    }
    impl_->remove(cgroup->path());
    cgroup.reset();
    return true;
}

void CgroupPool::remove_when_empty(Cgroup& cgroup) {
    std::lock_guard lock(impl_->mutex);
    if (!cgroup.leave()) impl_->remove(cgroup.path());
}

void CgroupPool::clean_up() {
    std::lock_guard lock(impl_->mutex);
    if (impl_->root.empty()) return;
    impl_->spares.clear();
    remove_below(impl_->root);
}

}  // namespace sandbox
