#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sandbox {

// What stands behind the scheme (in any case, one blank; `scheme` in lower case) of an Authorization header
// (RFC 9110 11.6.2), which is absent when null; absent for another scheme, and when nothing does.
std::optional<std::string_view> credentials(const std::string* authorization, std::string_view scheme);

}  // namespace sandbox
