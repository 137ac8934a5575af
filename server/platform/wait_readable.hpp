#pragma once

#include <chrono>

#include "platform/loop.hpp"

namespace sandbox {

// Suspends until a read of `fd` has something to tell: bytes, an end or an error; always true for what
// epoll(7) does not watch, such as regular files. False when `until` came first. `fd` stays the caller's and
// open meanwhile, and is waited for by nobody else.
Task<bool> wait_readable(Loop& loop, int fd, std::chrono::steady_clock::time_point until);

}  // namespace sandbox
