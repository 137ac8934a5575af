#pragma once
// Where our own cgroup is (cgroups(7)), as far as it can be seen from here.

#include <string>
#include <string_view>

namespace sandbox {

// The directory of our cgroup in the hierarchy of version 2. Empty: none that is mounted where we see it.
std::string own_cgroup();
// The same in the hierarchy of a controller of version 1, such as "memory".
std::string own_cgroup_v1(std::string_view controller);

}  // namespace sandbox
