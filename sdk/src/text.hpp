#pragma once
// Base64 (RFC 4648, section 4) and UTF-8.

#include <optional>
#include <string>
#include <string_view>

namespace koyeb::sandbox {

std::string base64_encode(std::string_view bytes);
// Nothing when the text is no padded base64.
std::optional<std::string> base64_decode(std::string_view text);

// Well-formed as RFC 3629 has it: no overlong form, no surrogate, nothing above U+10FFFF.
bool is_utf8(std::string_view bytes);

}  // namespace koyeb::sandbox
