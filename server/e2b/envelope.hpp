#pragma once
// The framing of streams in the Connect protocol: one byte of flags, the payload's length in four bytes (big
// endian), the payload. No I/O. https://connectrpc.com/docs/protocol

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace sandbox::e2b {

inline constexpr std::uint8_t kMessageFlags = 0x00;
inline constexpr std::uint8_t kEndStreamFlag = 0x02;
inline constexpr std::size_t kEnvelopeHead = 5;

// The five bytes before a payload of `size` bytes, below 4 GiB.
void append_envelope_head(std::string& out, std::uint8_t flags, std::size_t size);
void append_envelope(std::string& out, std::uint8_t flags, std::string_view payload);

struct Envelope {
    std::uint8_t flags = 0;
    std::string payload;
};

// Cuts a byte stream into envelopes. Value type, one thread. Keeps at most one unfinished envelope and what
// was fed behind it.
class EnvelopeReader {
  public:
    // A payload longer than `limit` is too_large, told as soon as its head is there.
    explicit EnvelopeReader(std::size_t limit) : limit_(limit) {}

    void feed(std::string_view bytes);
    // The next whole envelope; nothing when it has not come yet. After an error there is nothing more to
    // read.
    Result<std::optional<Envelope>> next();
    // No byte of an unfinished envelope is held: the stream may end here.
    bool at_boundary() const { return at_ == buffer_.size(); }

  private:
    std::size_t limit_;
    std::size_t at_ = 0;
    std::string buffer_;
};

}  // namespace sandbox::e2b
