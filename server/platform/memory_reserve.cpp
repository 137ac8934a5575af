#include "platform/memory_reserve.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>

namespace sandbox::memory_reserve {
namespace {

union Slot {
    Slot* next;
    alignas(__STDCPP_DEFAULT_NEW_ALIGNMENT__) std::array<std::byte, kSlotSize> bytes;
};

// Counted in our address space from the start, but no memory until a slot is used.
constinit std::array<Slot, kSlots> slots{};
constinit std::mutex mutex;
constinit Slot* free_slots = nullptr;  // that were taken before
constinit std::size_t untouched = 0;   // the first that never was
constinit std::atomic<std::size_t> in_use{0};

}  // namespace

void* take() noexcept {
    const std::lock_guard lock(mutex);
    Slot* slot = free_slots;
    if (slot != nullptr) {
        free_slots = slot->next;
    } else if (untouched < slots.size()) {
        slot = &slots[untouched++];
    } else {
        return nullptr;
    }
    in_use.fetch_add(1, std::memory_order_relaxed);
    return slot;
}

bool give_back(void* memory) noexcept {
    const auto offset = reinterpret_cast<std::uintptr_t>(memory) - reinterpret_cast<std::uintptr_t>(&slots);
    if (offset >= sizeof slots) return false;
    const std::lock_guard lock(mutex);
    Slot* slot = &slots[offset / sizeof(Slot)];
    slot->next = free_slots;
    free_slots = slot;
    in_use.fetch_sub(1, std::memory_order_relaxed);
    return true;
}

std::size_t taken() noexcept { return in_use.load(std::memory_order_relaxed); }

}  // namespace sandbox::memory_reserve

#ifndef SANDBOX_SANITIZED

void* operator new(std::size_t size) {
    if (void* memory = std::malloc(size != 0 ? size : 1)) return memory;
    if (size <= sandbox::memory_reserve::kSlotSize) {
        if (void* slot = sandbox::memory_reserve::take()) return slot;
    }
    throw std::bad_alloc();
}

void operator delete(void* memory) noexcept {
    if (!sandbox::memory_reserve::give_back(memory)) std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }

#endif
