#include "platform/memory_reserve.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>

namespace sandbox::memory_reserve {
namespace {

// Counted in our address space from the start, but no memory until a slot is used.
template <Slots Kind>
class Arena {
  public:
    void* take() {
        const std::lock_guard lock(mutex_);
        Slot* slot = free_;
        if (slot != nullptr) {
            free_ = slot->next;
        } else if (untouched_ < Kind.count) {
            slot = &slots_[untouched_++];
        } else {
            return nullptr;
        }
        taken_.fetch_add(1, std::memory_order_relaxed);
        return slot;
    }
    bool give_back(void* memory) {
        const auto offset =
            reinterpret_cast<std::uintptr_t>(memory) - reinterpret_cast<std::uintptr_t>(&slots_);
        if (offset >= sizeof slots_) return false;
        const std::lock_guard lock(mutex_);
        Slot* slot = &slots_[offset / sizeof(Slot)];
        slot->next = free_;
        free_ = slot;
        taken_.fetch_sub(1, std::memory_order_relaxed);
        return true;
    }
    std::size_t taken() const { return taken_.load(std::memory_order_relaxed); }

  private:
    union Slot {
        Slot* next;
        alignas(__STDCPP_DEFAULT_NEW_ALIGNMENT__) std::array<std::byte, Kind.size> bytes;
    };

    std::array<Slot, Kind.count> slots_{};
    std::mutex mutex_;
    Slot* free_ = nullptr;       // that were taken before
    std::size_t untouched_ = 0;  // the first that never was
    std::atomic<std::size_t> taken_{0};
};

constinit Arena<kSmall> small;
constinit Arena<kMedium> medium;

}  // namespace

void* take(std::size_t size) noexcept {
    void* slot = size <= kSmall.size ? small.take() : nullptr;
    return slot == nullptr && size <= kMedium.size ? medium.take() : slot;
}

bool give_back(void* memory) noexcept { return small.give_back(memory) || medium.give_back(memory); }

std::size_t taken() noexcept { return small.taken() + medium.taken(); }

bool runs_short() noexcept { return small.taken() > kSmall.count / 2 || medium.taken() > kMedium.count / 2; }

}  // namespace sandbox::memory_reserve

#ifndef SANDBOX_SANITIZED

void* operator new(std::size_t size) {
    if (void* memory = std::malloc(size != 0 ? size : 1)) return memory;
    if (void* slot = sandbox::memory_reserve::take(size)) return slot;
    throw std::bad_alloc();
}

void operator delete(void* memory) noexcept {
    if (!sandbox::memory_reserve::give_back(memory)) std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }

#endif
