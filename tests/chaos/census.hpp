#pragma once
// What the daemon has, to be compared with what it had.

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <map>
#include <string>

#include "e2e/support.hpp"

namespace sandbox::chaos {

struct Census {
    std::map<std::string, int> descriptors;  // by kind or path
    std::size_t threads = 0;
    std::size_t offspring = 0;
    std::size_t rss_kib = 0;

    static Census of(const e2e::Daemon& daemon);
    // What of this is more than it was; empty: nothing. Memory is not looked at. Spare cgroups may have
    // become more, up to as many as the daemon keeps beside those in use; so may pipes, by `idle_pipes`.
    std::string excess_over(const Census& before, std::size_t idle_pipes = 0) const;
};

// Asks again, every 5 ms, until the answer is yes; false after a minute: a pool gives its threads back after
// 10 s.
bool comes_to_pass(const std::function<bool()>& condition);

// Whether this is a build whose speed and memory say nothing (SANDBOX_SLOW=1).
bool is_slow();

}  // namespace sandbox::chaos
