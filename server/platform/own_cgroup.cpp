#include "platform/own_cgroup.hpp"

#include <fstream>
#include <sstream>

namespace sandbox {
namespace {

// Whether `name` is one of the names in `list`, which commas separate.
bool lists(std::string_view list, std::string_view name) {
    while (!list.empty()) {
        const std::size_t comma = list.find(',');
        if (list.substr(0, comma) == name) return true;
        list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
    }
    return false;
}

struct Mount {
    std::string root;   // the directory of the hierarchy that is seen at `point`
    std::string point;  // empty: there is none
};

// From the lines of proc(5), mountinfo: `id parent dev root point options [fields] - type source options`. An
// empty controller stands for version 2.
Mount find_mount(std::string_view controller) {
    Mount mount;
    std::ifstream mounts("/proc/self/mountinfo");
    for (std::string line; std::getline(mounts, line);) {
        const std::size_t separator = line.find(" - ");
        if (separator == std::string::npos) continue;
        std::istringstream behind(line.substr(separator + 3));
        std::string type;
        std::string source;
        std::string options;
        behind >> type >> source >> options;
        if (controller.empty() ? type != "cgroup2" : type != "cgroup" || !lists(options, controller))
            continue;
        std::istringstream before(line.substr(0, separator));
        std::string skipped;
        before >> skipped >> skipped >> skipped >> mount.root >> mount.point;
        break;
    }
    return mount;
}

// From the lines `number:controllers:path` of /proc/self/cgroup; version 2 has number 0 and no controllers.
std::string find_path(std::string_view controller) {
    std::ifstream own("/proc/self/cgroup");
    for (std::string line; std::getline(own, line);) {
        const std::size_t first = line.find(':');
        const std::size_t second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string_view controllers = std::string_view(line).substr(first + 1, second - first - 1);
        if (controller.empty() ? line.starts_with("0::") : lists(controllers, controller))
            return line.substr(second + 1);
    }
    return "";
}

std::string find(std::string_view controller) {
    const Mount mount = find_mount(controller);
    std::string path = find_path(controller);
    if (mount.point.empty() || path.empty()) return "";
    if (mount.root != "/" && path.starts_with(mount.root)) path.erase(0, mount.root.size());
    if (path.find("..") != std::string::npos) return "";
    return path == "/" || path.empty() ? mount.point : mount.point + path;
}

}  // namespace

std::string own_cgroup() { return find(""); }
std::string own_cgroup_v1(std::string_view controller) { return find(controller); }

}  // namespace sandbox
