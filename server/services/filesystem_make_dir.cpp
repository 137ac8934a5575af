// make_dir.

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "services/filesystem_detail.hpp"

namespace sandbox::files {
namespace {

using namespace detail;

constexpr mode_t kDirectoryMode = 0755;
// Somebody may remove what we just made, or found; that often in a row is no accident.
constexpr int kMaxRaces = 16;

// The ends of the prefixes of `path` that end with a component: for "/a//b/" those of "/a" and "/a//b".
std::vector<std::size_t> component_ends(const std::string& path) {
    std::vector<std::size_t> ends;
    for (std::size_t i = 0; i < path.size(); ++i) {
        if (path[i] != '/' && (i + 1 == path.size() || path[i + 1] == '/')) ends.push_back(i + 1);
    }
    return ends;
}

// The directory `name` of `dir`, made if need be. Returns an errno, 0 for none.
int make_and_open(int dir, const std::string& name, const MakeDirOptions& options, UniqueFd& opened,
                  bool& made) {
    made = false;
    for (int race = 0; race < kMaxRaces; ++race) {
        if (::mkdirat(dir, name.c_str(), kDirectoryMode) == 0) {
            opened = open_at(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
            // Without the right to read what we made (a umask of 0777), there is O_PATH.
            if (!opened && errno == EACCES) opened = open_at(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
            if (!opened) {
                if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) continue;  // Gone, or swapped.
                return errno;
            }
            made = true;
            if (!options.owner) return 0;
            return ::fchown(opened.get(), options.owner->uid, options.owner->gid) == 0 ? 0 : errno;
        }
        int error = errno;
        opened = open_at(dir, name, O_PATH | O_DIRECTORY);
        if (opened) return 0;
        if (error != EEXIST) return error;
        if (errno != ENOENT && errno != ELOOP) return errno;
        struct stat info {};
        if (::fstatat(dir, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0)
            return EEXIST;  // A link to nowhere.
    }
    return ENOENT;
}

}  // namespace

Result<bool> make_dir(const std::string& path, const MakeDirOptions& options) {
    if (has_nul(path)) return path_error("mkdir", path, EINVAL);
    if (path.empty()) return path_error("mkdir", path, ENOENT);
    if (open_directory(AT_FDCWD, path)) return false;

    // Up to the innermost directory that is there, and from there down.
    std::vector<std::size_t> ends = component_ends(path);
    std::size_t next = ends.empty() ? 0 : ends.size() - 1;
    UniqueFd dir;
    for (; next > 0; --next) {
        dir = open_directory(AT_FDCWD, path.substr(0, ends[next - 1]));
        if (dir) break;
    }
    if (!dir) dir = open_directory(AT_FDCWD, path[0] == '/' ? "/" : ".");
    if (!dir) return path_error("mkdir", path, errno);

    bool made = false;
    for (; next < ends.size(); ++next) {
        std::string prefix = next + 1 == ends.size() ? path : path.substr(0, ends[next]);
        std::string name = prefix.substr(0, ends[next]);
        name.erase(0, name.rfind('/') + 1);  // npos + 1 is 0
        UniqueFd child;
        if (int error = make_and_open(dir.get(), name, options, child, made); error != 0) {
            return path_error("mkdir", prefix, error);
        }
        dir = std::move(child);
    }
    return made;
}

}  // namespace sandbox::files
