#include "net/receive_buffer.hpp"

#include <algorithm>
#include <cstring>

namespace sandbox::net {

std::span<char> ReceiveBuffer::room(std::size_t wanted) {
    if (empty()) begin_ = end_ = 0;
    if (capacity_ - end_ < wanted) {
        const std::size_t used = size();
        if (capacity_ - used >= wanted) {
            std::memmove(data_.get(), data_.get() + begin_, used);
        } else {
            // By half as much again, so that many small pieces are not moved each time.
            const std::size_t larger = std::max(used + wanted, capacity_ + capacity_ / 2);
            auto moved = std::make_unique_for_overwrite<char[]>(larger);
            if (used > 0) std::memcpy(moved.get(), data_.get() + begin_, used);
            if (capacity_ > 0) ::explicit_bzero(data_.get(), capacity_);  // It may be a part of a head.
            data_ = std::move(moved);
            capacity_ = larger;
        }
        begin_ = 0;
        end_ = used;
    }
    return {data_.get() + end_, wanted};
}

void ReceiveBuffer::wipe(std::size_t count) {
    ::explicit_bzero(data_.get() + begin_, count);
    begin_ += count;
}

void ReceiveBuffer::release() {
    data_.reset();
    capacity_ = begin_ = end_ = 0;
}

}  // namespace sandbox::net
