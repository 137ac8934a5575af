#include "e2b/envelope.hpp"

namespace sandbox::e2b {

void append_envelope_head(std::string& out, std::uint8_t flags, std::size_t size) {
    out.push_back(static_cast<char>(flags));
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(size >> shift & 0xFFU));
}

void append_envelope(std::string& out, std::uint8_t flags, std::string_view payload) {
    append_envelope_head(out, flags, payload.size());
    out += payload;
}

void EnvelopeReader::feed(std::string_view bytes) {
    if (at_ > 0) {
        buffer_.erase(0, at_);
        at_ = 0;
    }
    buffer_ += bytes;
}

Result<std::optional<Envelope>> EnvelopeReader::next() {
    std::string_view rest = std::string_view(buffer_).substr(at_);
    if (rest.size() < kEnvelopeHead) return std::optional<Envelope>();
    std::size_t size = 0;
    for (std::size_t i = 1; i < kEnvelopeHead; ++i) size = size << 8U | static_cast<unsigned char>(rest[i]);
    if (size > limit_) {
        return Error{Errc::too_large,
                     "message size " + std::to_string(size) + " is larger than configured max " +
                         std::to_string(limit_),
                     0};
    }
    if (rest.size() - kEnvelopeHead < size) return std::optional<Envelope>();
    Envelope envelope;
    envelope.flags = static_cast<unsigned char>(rest[0]);
    envelope.payload = rest.substr(kEnvelopeHead, size);
    at_ += kEnvelopeHead + size;
    return std::optional<Envelope>(std::move(envelope));
}

}  // namespace sandbox::e2b
