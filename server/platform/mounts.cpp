#include "platform/mounts.hpp"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <mutex>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"

namespace sandbox {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kMaxAge{20};  // of the table
constexpr int kMostLinks = 40;                    // as the kernel, path_resolution(7)

struct Mount {
    std::string point;
    std::string device;
};

// Blanks and the like are written as three octal digits.
std::string unescape(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 3 < text.size()) {
            out +=
                static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
            i += 3;
        } else {
            out += text[i];
        }
    }
    return out;
}

using Table = std::vector<Mount>;

Table read_table() {
    std::string text;
    UniqueFd fd(::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
    char buffer[16 * 1024];
    while (fd) {
        ssize_t count = ::read(fd.get(), buffer, sizeof buffer);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) break;
        text.append(buffer, static_cast<std::size_t>(count));
    }
    Table mounts;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream fields(line);
        std::string skipped;
        std::string point;
        Mount mount;
        fields >> skipped >> skipped >> mount.device >> skipped >> point;
        mount.point = unescape(point);
        mounts.push_back(std::move(mount));
    }
    return mounts;
}

bool is_at_or_below(const std::string& path, const std::string& point) {
    if (point == "/") return true;
    return path.starts_with(point) && (path.size() == point.size() || path[point.size()] == '/');
}

// The innermost, and of several at one point the last, which hides the others.
const Mount* mount_of(const Table& mounts, const std::string& path) {
    const Mount* found = nullptr;
    for (const Mount& mount : mounts) {
        if (!is_at_or_below(path, mount.point)) continue;
        if (found == nullptr || mount.point.size() >= found->point.size()) found = &mount;
    }
    return found;
}

// Puts the components of `path` on the stack, the first one on top.
void push_components(std::vector<std::string>& stack, std::string_view path) {
    while (!path.empty()) {
        std::size_t slash = path.rfind('/');
        std::string_view last = slash == std::string_view::npos ? path : path.substr(slash + 1);
        if (!last.empty() && last != ".") stack.emplace_back(last);
        path = slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
    }
}

bool is_special(const std::string& path) {
    struct stat info {};
    return ::lstat(path.c_str(), &info) == 0 &&
           (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode) || S_ISCHR(info.st_mode));
}

}  // namespace

struct Mounts::Impl {
    std::mutex mutex;
    std::shared_ptr<const Table> table;
    Clock::time_point read_at;

    std::shared_ptr<const Table> current() {
        std::lock_guard lock(mutex);
        if (Clock::time_point now = Clock::now(); !table || now >= read_at + kMaxAge) {
            table = std::make_shared<const Table>(read_table());
            read_at = now;
        }
        return table;
    }
};

Mounts::Mounts() : impl_(std::make_unique<Impl>()) {}
Mounts::~Mounts() = default;

bool Mounts::walk(const std::string& path, const std::function<bool(const std::string&)>& enter) {
    const std::shared_ptr<const Table> mounts = impl_->current();
    std::vector<std::string> rest;
    push_components(rest, path);
    if (!path.starts_with('/')) {
        char directory[PATH_MAX];
        if (::getcwd(directory, sizeof directory) != nullptr) push_components(rest, directory);
    }
    std::string at;  // without links; "" is the root
    std::string inside;
    bool entered = false;
    bool can_be_special = false;
    int links = 0;
    while (!rest.empty()) {
        std::string component = std::move(rest.back());
        rest.pop_back();
        if (component == "..") {
            at.erase(at.empty() ? 0 : at.rfind('/'));
            can_be_special = false;
            continue;
        }
        std::string next = at + '/' + component;
        const Mount* mount = mount_of(*mounts, next);
        const std::string device = mount != nullptr ? mount->device : std::string();
        if (!entered || device != inside) {
            if (!enter(device)) return false;
            inside = device;
            entered = true;
        }
        // The root of a mount is no link, and asking could already hang.
        can_be_special = mount == nullptr || mount->point != next;
        if (can_be_special) {
            char target[PATH_MAX];
            ssize_t size = ::readlink(next.c_str(), target, sizeof target);
            if (size > 0 && ++links <= kMostLinks) {
                if (target[0] == '/') at.clear();
                push_components(rest, std::string_view(target, static_cast<std::size_t>(size)));
                can_be_special = false;
                continue;
            }
        }
        at = std::move(next);
    }
    return !can_be_special || !is_special(at) || enter(kSpecialFiles);
}

}  // namespace sandbox
