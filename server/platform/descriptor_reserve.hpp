#pragma once
// Descriptors held back for looking at /proc and at cgroups when all others are used up: a kill must work
// then, too, and whoever accepts connections takes at once what is free.

#include <dirent.h>

#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"

namespace sandbox {

// Thread-safe.
class DescriptorReserve {
  public:
    static constexpr std::size_t kSize = 4;

    DescriptorReserve();

    // open(2), with descriptors closed on exec. When none is left (EMFILE, ENFILE) a held one makes room, so
    // that its number is free for two system calls only. Empty with errno set on failure.
    UniqueFd open(const char* path, int flags);
    // Keeps it, whatever file it is of, in place of one that open() gave up, until there are descriptors to
    // be had for that; closes it when none is missing. Empty: only looks whether there are some now.
    void put_back(UniqueFd fd);

  private:
    void fill();

    std::mutex mutex_;
    // Each an open file of its own, which helps against ENFILE, too. First those of "/", then those kept.
    std::vector<UniqueFd> held_;
    std::size_t own_ = 0;  // of "/"
};

// The one of this process, there from before main().
DescriptorReserve& descriptor_reserve();

// With a descriptor of the reserve for the time of the call. Each gives 0 or the errno of what failed; what
// came until then stays.
int read_whole(const std::string& path, std::string& text);  // Replaces the text.
int list_directory(const std::string& path, const std::function<void(const dirent64&)>& on_entry);

}  // namespace sandbox
