#pragma once
// A spool's content for a blocking writer.

#include "platform/byte_source.hpp"
#include "platform/spool.hpp"

namespace sandbox {

// The spool must outlive it, and nothing may be appended meanwhile. After Spool::complete_file() its file may
// become the written one, and the spool is not to be used any more.
class SpoolSource final : public ByteSource {
  public:
    explicit SpoolSource(const Spool& spool) : spool_(spool) {}
    Result<std::size_t> read(std::uint64_t offset, std::span<char> out) override {
        return spool_.read_blocking(offset, out);
    }
    std::string_view view(std::uint64_t offset) const override {
        std::string_view memory = spool_.memory();
        return offset < memory.size() ? memory.substr(static_cast<std::size_t>(offset)) : std::string_view();
    }

    int unnamed_file() const override { return spool_.file(); }

  private:
    const Spool& spool_;
};

}  // namespace sandbox
