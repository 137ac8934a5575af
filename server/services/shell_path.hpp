#pragma once
// Where the shell is. A search takes a stat(2) for every directory of PATH before the right one.

#include <unistd.h>

#include <mutex>
#include <string>

#include "base/error.hpp"

namespace sandbox {

// The PATH of who has none.
inline constexpr const char* kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// Any thread.
class ShellPath {
  public:
    // What `find` has found, by an earlier call when that is still there. Blocks.
    template <class Find>
    Result<std::string> get(Find find) {
        std::string path = known();
        if (!path.empty() && ::access(path.c_str(), X_OK) == 0) return path;
        Result<std::string> found = find();
        if (found) {
            std::lock_guard lock(mutex_);
            path_ = *found;
        }
        return found;
    }

    // What was found last, without a look at it; empty at first and after forget(). Does not block.
    std::string known() const {
        std::lock_guard lock(mutex_);
        return path_;
    }
    void forget() {
        std::lock_guard lock(mutex_);
        path_.clear();
    }

  private:
    mutable std::mutex mutex_;
    std::string path_;
};

}  // namespace sandbox
