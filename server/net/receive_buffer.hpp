#pragma once
// What a connection has received and not yet used up. Private to net/.

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace sandbox::net {

// Loop thread. Unlike a std::string it does not fill the room that the kernel is about to write to: for
// uploads that would be one more pass over all bytes.
class ReceiveBuffer {
  public:
    // Valid until the next room(), consume() or release().
    std::string_view bytes() const { return {data_.get() + begin_, end_ - begin_}; }
    std::size_t size() const { return end_ - begin_; }
    bool empty() const { return begin_ == end_; }

    // Exactly `wanted` uninitialized bytes behind the last. What of them was filled is told with commit().
    std::span<char> room(std::size_t wanted);
    void commit(std::size_t count) { end_ += count; }
    // The oldest `count` bytes, at most size(), are used up.
    void consume(std::size_t count) { begin_ += count; }
    // The same, and nothing of them stays in memory: they held a secret.
    void wipe(std::size_t count);
    // Gives the memory back, and with it what was left.
    void release();

  private:
    std::unique_ptr<char[]> data_;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

}  // namespace sandbox::net
