#pragma once

#include <array>
#include <string_view>

namespace sandbox {

using Digest = std::array<unsigned char, 32>;

// SHA-256 (FIPS 180-4). Thread-safe.
Digest sha256(std::string_view bytes);

}  // namespace sandbox
