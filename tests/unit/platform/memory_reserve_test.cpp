#include "platform/memory_reserve.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace sandbox {
namespace {

// All slots for `size` bytes, in order of their places.
std::vector<char*> take_all(std::size_t size) {
    std::vector<char*> slots;
    while (void* slot = memory_reserve::take(size)) slots.push_back(static_cast<char*>(slot));
    std::sort(slots.begin(), slots.end());
    return slots;
}

TEST(MemoryReserveTest, GivesEachSlotOnceAndTakesItBack) {
    constexpr memory_reserve::Slots kSmall = memory_reserve::kSmall;
    constexpr memory_reserve::Slots kMedium = memory_reserve::kMedium;
    for (int round = 0; round < 3; ++round) {
        ASSERT_EQ(memory_reserve::taken(), 0U);
        std::vector<char*> medium = take_all(kSmall.size + 1);
        EXPECT_EQ(medium.size(), kMedium.count);
        EXPECT_TRUE(memory_reserve::runs_short());
        std::vector<char*> small = take_all(kSmall.size);
        EXPECT_EQ(small.size(), kSmall.count);
        EXPECT_EQ(memory_reserve::taken(), kSmall.count + kMedium.count);
        for (std::size_t i = 0; i + 1 < small.size(); ++i) ASSERT_GE(small[i + 1] - small[i], 512);
        for (std::size_t i = 0; i + 1 < medium.size(); ++i) ASSERT_GE(medium[i + 1] - medium[i], 4096);
        for (char* slot : small) std::memset(slot, 0xA5, kSmall.size);
        for (char* slot : medium) std::memset(slot, 0xA5, kMedium.size);
        small.insert(small.end(), medium.begin(), medium.end());
        for (char* slot : small) ASSERT_TRUE(memory_reserve::give_back(slot));
        EXPECT_FALSE(memory_reserve::runs_short());
    }
}

TEST(MemoryReserveTest, HasNothingForTheLarge) {
    EXPECT_EQ(memory_reserve::take(memory_reserve::kMedium.size + 1), nullptr);
}

TEST(MemoryReserveTest, HelpsOutTheSmallWithTheMedium) {
    std::vector<char*> all = take_all(1);
    EXPECT_EQ(all.size(), memory_reserve::kSmall.count + memory_reserve::kMedium.count);
    for (char* slot : all) memory_reserve::give_back(slot);
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
    constexpr std::size_t kAll = memory_reserve::kSmall.count + memory_reserve::kMedium.count;
    small.reserve(2 * kAll);
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
        got = ::operator new(memory_reserve::kMedium.size + 1);
        std::_Exit(2);
    } catch (const std::bad_alloc&) {
    }
    for (int round = 0; round < 2; ++round) {
        try {
            for (;;) small.push_back(::operator new(memory_reserve::kSmall.size));
        } catch (const std::bad_alloc&) {
        }
        // The exceptions above have memory of their own, or may have taken some.
        if (small.size() + 8 < kAll) std::_Exit(3);
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
