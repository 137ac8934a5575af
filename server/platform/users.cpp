#include "platform/users.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/number.hpp"
#include "base/unique_fd.hpp"

namespace sandbox {
namespace {

// Far beyond any real file; a command inside the sandbox may have replaced it by something endless.
constexpr std::size_t kMaxFile = 16 * 1024 * 1024;

std::string read_regular_file(const std::string& path) {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    struct stat info {};
    if (!fd || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) return {};
    std::string text;
    std::array<char, 16 * 1024> buffer;
    while (text.size() < kMaxFile) {
        ssize_t count = ::read(fd.get(), buffer.data(), buffer.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) break;
        text.append(buffer.data(), static_cast<std::size_t>(count));
    }
    return text;
}

// The pieces of `text` between `separator`s; one empty piece for an empty text.
std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> pieces;
    while (true) {
        std::size_t end = text.find(separator);
        pieces.push_back(text.substr(0, end));
        if (end == std::string_view::npos) return pieces;
        text.remove_prefix(end + 1);
    }
}

// A uid or gid; the largest value means "no change" to chown(2) and setresuid(2), so it is none.
std::optional<std::uint32_t> parse_id(std::string_view text) {
    const auto id = parse_number<std::uint32_t>(text);
    return id == UINT32_MAX ? std::nullopt : id;
}

}  // namespace

Accounts Accounts::load(const std::string& passwd_file, const std::string& group_file) {
    Accounts accounts;
    std::string text = read_regular_file(passwd_file);
    for (std::string_view line : split(text, '\n')) {
        std::vector<std::string_view> fields = split(line, ':');
        if (fields.size() < 4 || fields[0].empty() || fields[0].front() == '#') continue;
        auto uid = parse_id(fields[2]);
        auto gid = parse_id(fields[3]);
        if (!uid || !gid) continue;
        User user;
        user.name = fields[0];
        user.uid = *uid;
        user.gid = *gid;
        user.home = fields.size() > 5 && !fields[5].empty() ? fields[5] : "/";
        if (fields.size() > 6) user.shell = fields[6];
        accounts.user_by_uid_.emplace(user.uid, accounts.users_.size());
        accounts.users_.push_back(std::move(user));
    }

    text = read_regular_file(group_file);
    for (std::string_view line : split(text, '\n')) {
        std::vector<std::string_view> fields = split(line, ':');
        if (fields.size() < 3 || fields[0].empty() || fields[0].front() == '#') continue;
        auto gid = parse_id(fields[2]);
        if (!gid) continue;
        Group group;
        group.name = fields[0];
        group.gid = *gid;
        if (fields.size() > 3) {
            for (std::string_view member : split(fields[3], ',')) {
                if (!member.empty()) group.members.emplace_back(member);
            }
        }
        accounts.group_by_gid_.emplace(group.gid, accounts.groups_.size());
        accounts.groups_.push_back(std::move(group));
    }
    return accounts;
}

std::optional<User> Accounts::find_user(std::string_view name_or_uid) const {
    User user;
    auto named = std::ranges::find(users_, name_or_uid, &User::name);
    std::optional<uid_t> uid = parse_id(name_or_uid);
    if (named != users_.end()) {
        user = *named;
    } else if (uid && user_by_uid_.contains(*uid)) {
        user = users_[user_by_uid_.at(*uid)];
    } else if (uid || name_or_uid == "root") {
        user.uid = uid.value_or(0);
        user.gid = user.uid;
        user.name = user.uid == 0 ? "root" : std::string(name_or_uid);
        user.home = "/";
        user.listed = false;
    } else {
        return std::nullopt;
    }

    user.groups.push_back(user.gid);
    for (const Group& group : groups_) {
        if (std::ranges::find(group.members, user.name) == group.members.end()) continue;
        if (std::ranges::find(user.groups, group.gid) == user.groups.end()) user.groups.push_back(group.gid);
    }
    return user;
}

std::optional<gid_t> Accounts::find_group(std::string_view name_or_gid) const {
    auto named = std::ranges::find(groups_, name_or_gid, &Group::name);
    if (named != groups_.end()) return named->gid;
    return parse_id(name_or_gid);
}

std::string Accounts::user_name(uid_t uid) const {
    auto found = user_by_uid_.find(uid);
    return found != user_by_uid_.end() ? users_[found->second].name : std::to_string(uid);
}

std::string Accounts::group_name(gid_t gid) const {
    auto found = group_by_gid_.find(gid);
    return found != group_by_gid_.end() ? groups_[found->second].name : std::to_string(gid);
}

std::optional<User> find_user(std::string_view name_or_uid) {
    return Accounts::load().find_user(name_or_uid);
}

}  // namespace sandbox
