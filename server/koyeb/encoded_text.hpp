#pragma once
// Bytes as the text of a JSON string, piece by piece: escaped, or in base64 for exact bytes.

#include <string>
#include <string_view>

#include "base/base64.hpp"
#include "base/json_escape.hpp"

namespace sandbox::koyeb {

// A character or a base64 group that is split over two pieces is not broken. Not thread-safe.
class EncodedText {
  public:
    explicit EncodedText(bool base64) : base64_(base64) {}

    void append(std::string& out, std::string_view bytes) {
        base64_ ? encoder_.append(out, bytes) : escaper_.append(out, bytes);
    }
    // What was held back for the next piece. The quotes are the caller's.
    void finish(std::string& out) { base64_ ? encoder_.finish(out) : escaper_.finish(out); }

  private:
    bool base64_;
    Base64Encoder encoder_;
    JsonEscaper escaper_{JsonCharset::utf8};
};

}  // namespace sandbox::koyeb
