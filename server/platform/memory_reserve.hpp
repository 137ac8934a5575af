#pragma once
// A reserve for small allocations, for when malloc(3) has nothing left (RLIMIT_AS, strict overcommit).
//
// What is large fails as ever, with std::bad_alloc, and costs the request that wanted it. What is small comes
// out of the reserve then: it is what the loop itself lives by, such as Asio's record of a wait, and where
// its allocation fails there is no request to end, nor a way to go on (Asio begins a wait once its coroutine
// is suspended; an exception there ends the program).
//
// It takes the place of the global operator new and delete, thread-safe like them; not in sanitizer builds,
// whose allocators do not fail.

#include <cstddef>

namespace sandbox::memory_reserve {

struct Slots {
    std::size_t size;  // of each, in bytes
    std::size_t count;
};
inline constexpr Slots kSmall{512, 4096};
inline constexpr Slots kMedium{4096, 512};  // larger allocations have no part in it

// A slot for `size` bytes, or null when there is none left. What operator new does once malloc(3) has failed.
void* take(std::size_t size) noexcept;
// Gives back what take() returned. False: `memory` is none of its slots.
bool give_back(void* memory) noexcept;
// How many slots are taken now. Any thread.
std::size_t taken() noexcept;
// More than half of one size are.
bool runs_short() noexcept;

}  // namespace sandbox::memory_reserve
