#pragma once
// One unlinked temporary file cut into blocks, for many small owners who come and go: one descriptor for all,
// space that is freed is used again, and is given back to the disk when there is much of it.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "platform/blocking_pool.hpp"
#include "platform/spool.hpp"

namespace sandbox {

// Loop thread. Operations and Blocks keep what they need of it alive; `loop` and `pool` must outlive them.
class BlockFile {
    struct State;

  public:
    struct Options {
        std::size_t block_size = 4096;
        // Free space beyond this, and beyond what is in use, is punched out of the file.
        std::size_t keep_free = 32U << 20U;
        // For so long after a failed write the file does not grow; what it has already is still used.
        std::chrono::milliseconds retry{5000};
    };

    // Space in the file, owned: freed with the object. Empty when it could not be had.
    class Blocks {
      public:
        Blocks() = default;
        Blocks(Blocks&&) noexcept = default;
        Blocks& operator=(Blocks&& other) noexcept;
        ~Blocks();
        Blocks(const Blocks&) = delete;
        Blocks& operator=(const Blocks&) = delete;
        bool empty() const { return numbers_.empty(); }

      private:
        friend class BlockFile;
        void free();
        std::shared_ptr<State> state_;
        std::vector<std::uint32_t> numbers_;
        std::size_t backed_ = 0;  // the first so many have space on the disk already
    };

    BlockFile(Loop& loop, BlockingPool& pool, SpillDir& dir, Options options);
    ~BlockFile();
    BlockFile(const BlockFile&) = delete;
    BlockFile& operator=(const BlockFile&) = delete;

    // Room for `bytes` > 0; empty when the file must not grow now.
    Blocks allocate(std::size_t bytes);

    struct Piece {
        Blocks* to;
        std::string_view bytes;
    };
    // Writes each piece to its blocks, off the loop; the blocks and the bytes must stay valid until it ends.
    // One write at a time. After an error none of them counts as written, and growing stops for a while.
    Task<Result<>> write(std::vector<Piece> pieces);
    // Fills `out` from the blocks, off the loop; both must stay valid until it ends.
    Task<Result<>> read(const Blocks& from, std::span<char> out);

    // False for a while after a failed write.
    bool may_grow() const;
    std::size_t used_bytes() const;
    // Free, and with space on the disk: can be written whatever the state of the disk.
    std::size_t reusable_bytes() const;
    // The bytes of the disk that the file occupies, by our own account.
    std::size_t disk_bytes() const { return used_bytes() + reusable_bytes(); }

  private:
    std::shared_ptr<State> state_;
};

}  // namespace sandbox
