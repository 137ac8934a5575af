#pragma once
// Bytes for a blocking writer, from wherever they are kept: memory, a spool, another file.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "base/error.hpp"

namespace sandbox {

// Used by one pool thread at a time. The content does not change while it is used; a writer may read any part
// of it again (it does when a staged file could not be put in place).
class ByteSource {
  public:
    ByteSource() = default;
    ByteSource(const ByteSource&) = delete;
    ByteSource& operator=(const ByteSource&) = delete;
    virtual ~ByteSource() = default;

    // Blocking. Reads up to out.size() bytes at `offset`; fewer only when more have to be fetched or the end
    // is near, 0 at the end and only there.
    virtual Result<std::size_t> read(std::uint64_t offset, std::span<char> out) = 0;

    // The bytes from `offset` on that lie in memory, as many as follow each other; valid as long as the
    // source. Empty when there are none, which says nothing about the end. Saves the writer a copy.
    virtual std::string_view view(std::uint64_t offset) const {
        static_cast<void>(offset);
        return {};
    }

    // `length` bytes of the content from the asked offset on, as they lie in a file at `position`.
    struct FileExtent {
        int fd = -1;
        std::uint64_t position = 0;
        std::uint64_t length = 0;
    };
    // For copy_file_range(2); nothing when the bytes at `offset` are in no file.
    virtual std::optional<FileExtent> file_extent(std::uint64_t offset) const {
        static_cast<void>(offset);
        return std::nullopt;
    }

    // A file without a name, ours alone, that holds all of the content and may become the written file: a
    // link instead of a copy. -1 when there is none.
    virtual int unnamed_file() const { return -1; }
};

// Bytes owned by somebody else, who keeps them alive.
class MemorySource final : public ByteSource {
  public:
    explicit MemorySource(std::string_view bytes) : bytes_(bytes) {}

    Result<std::size_t> read(std::uint64_t offset, std::span<char> out) override {
        std::string_view rest = view(offset);
        std::size_t count = std::min(rest.size(), out.size());
        if (count != 0) std::memcpy(out.data(), rest.data(), count);
        return count;
    }
    std::string_view view(std::uint64_t offset) const override {
        return offset < bytes_.size() ? bytes_.substr(static_cast<std::size_t>(offset)) : std::string_view();
    }

  private:
    std::string_view bytes_;
};

}  // namespace sandbox
