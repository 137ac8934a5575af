#pragma once
// Base64 (RFC 4648): section 4 when encoding; sections 4 and 5 (URL-safe) mixed, with or without padding,
// when decoding.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace sandbox {

// Streaming encoder: the pieces are one text, cut anywhere. Value type, not thread-safe. `bytes` must not
// point into `out`.
class Base64Encoder {
  public:
    void append(std::string& out, std::string_view bytes);
    // The last group, padded. Ready for a new text.
    void finish(std::string& out);

  private:
    char kept_[3] = {};
    std::uint8_t kept_size_ = 0;
};

// Appends the padded encoding of `bytes`.
void append_base64(std::string& out, std::string_view bytes);
std::string base64_encode(std::string_view bytes);

// Streaming decoder. Strict: no white space, nothing after padding, padding complete when there is any, no
// lone character at the end. The unused bits of the last character are not looked at.
class Base64Decoder {
  public:
    // Appends what can be decoded so far. False once the text is invalid, and then for good; bytes decoded
    // before the fault may have been appended. `text` must not point into `out`.
    bool append(std::string& out, std::string_view text);
    // The end of the text; false when it was invalid or is cut off. Ready for a new text.
    bool finish(std::string& out);

  private:
    bool take(std::string& out, char c);

    char kept_[4] = {};
    std::uint8_t kept_size_ = 0;  // characters of the unfinished group, without padding
    std::uint8_t padding_ = 0;
    bool invalid_ = false;
};

// Error: invalid_argument, "invalid base64".
Result<std::string> base64_decode(std::string_view text);

}  // namespace sandbox
