#include "platform/memory_reserve.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <set>
#include <vector>

namespace sandbox {
namespace {

TEST(MemoryReserveTest, GivesEachSlotOnceAndTakesItBack) {
    const std::size_t before = memory_reserve::taken();
    for (int round = 0; round < 3; ++round) {
        std::set<char*> slots;
        while (void* slot = memory_reserve::take()) {
            std::memset(slot, 0xA5, memory_reserve::kSlotSize);
            slots.insert(static_cast<char*>(slot));
        }
        ASSERT_EQ(slots.size(), memory_reserve::kSlots - before);
        EXPECT_EQ(memory_reserve::taken(), memory_reserve::kSlots);
        for (auto at = slots.begin(), next = std::next(at); next != slots.end(); at = next++) {
            ASSERT_GE(*next - *at, static_cast<std::ptrdiff_t>(memory_reserve::kSlotSize));
        }
        for (char* slot : slots) ASSERT_TRUE(memory_reserve::give_back(slot));
        EXPECT_EQ(memory_reserve::taken(), before);
    }
}

TEST(MemoryReserveTest, KnowsItsOwn) {
    const std::unique_ptr<char[]> other(new char[100]);
    int local = 0;
    EXPECT_FALSE(memory_reserve::give_back(other.get()));
    EXPECT_FALSE(memory_reserve::give_back(&local));
    EXPECT_FALSE(memory_reserve::give_back(nullptr));
}

#ifndef SANDBOX_SANITIZED

// In a process of its own, which has less memory than it wants. What it exits with tells what was wrong.
[[noreturn]] void use_up_memory() {
    std::vector<void*> small;
    small.reserve(2 * memory_reserve::kSlots);
    const rlimit none{0, RLIM_INFINITY};
    if (::setrlimit(RLIMIT_AS, &none) != 0) std::_Exit(1);
    // What malloc(3) still has by itself.
    void* volatile got = nullptr;  // volatile, or the compiler sees that nobody needs it
    for (std::size_t size = 1 << 20; size >= 16; size /= 2) {
        do {
            got = std::malloc(size);
        } while (got != nullptr);
    }
    try {
        got = ::operator new(memory_reserve::kSlotSize + 1);
        std::_Exit(2);
    } catch (const std::bad_alloc&) {
    }
    for (int round = 0; round < 2; ++round) {
        try {
            for (;;) small.push_back(::operator new(memory_reserve::kSlotSize));
        } catch (const std::bad_alloc&) {
        }
        // The exceptions above have memory of their own, or may have taken some.
        if (small.size() + 8 < memory_reserve::kSlots) std::_Exit(3);
        while (!small.empty()) {
            ::operator delete(small.back());
            small.pop_back();
        }
    }
    std::_Exit(0);
}

TEST(MemoryReserveTest, IsWhatSmallAllocationsFallBackTo) {
    EXPECT_EXIT(use_up_memory(), testing::ExitedWithCode(0), "");
}

#endif

}  // namespace
}  // namespace sandbox
