#pragma once
// Bytes of any kind into the inside of a JSON string (RFC 8259, section 7), in the form Go's encoding/json
// writes:
// \" \\ \b \f \n \r \t, other controls as \u00xx, and < > & U+2028 U+2029 escaped so that the text is safe
// inside HTML and JavaScript. U+0085 is escaped too, because line readers exist that take it for the end of a
// line. A byte that is no part of valid UTF-8 becomes \ufffd, each such byte on its own.

#include <cstdint>
#include <string>
#include <string_view>

namespace sandbox {

enum class JsonCharset : std::uint8_t {
    utf8,   // characters past U+007F as they are
    ascii,  // as \uXXXX, lower-case hex, a surrogate pair past U+FFFF: immune to clients that cut UTF-8 at
            // chunk borders
};

// Streaming: the pieces given to append() are one text, cut anywhere; at most 3 bytes of an incomplete
// character are kept in between. The concatenated output does not depend on the cuts. Not thread-safe; a
// value type.
class JsonEscaper {
  public:
    explicit JsonEscaper(JsonCharset charset) : charset_(charset) {}

    // Appends the escaped form of `bytes`, without quotes. `bytes` must not point into `out`.
    void append(std::string& out, std::string_view bytes);

    // The end of the text: what is still kept was cut off for good and becomes \ufffd a byte. Ready for a new
    // text.
    void finish(std::string& out);

  private:
    JsonCharset charset_;
    std::uint8_t kept_size_ = 0;
    char kept_[4] = {};
};

// Appends `bytes` as one JSON string, quotes included. `bytes` must not point into `out`.
void append_json_string(std::string& out, std::string_view bytes, JsonCharset charset = JsonCharset::utf8);

}  // namespace sandbox
