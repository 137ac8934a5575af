#include "base/sha256.hpp"

#include <sodium.h>

namespace sandbox {

static_assert(std::tuple_size_v<Digest> == crypto_hash_sha256_BYTES);

Digest sha256(std::string_view bytes) {
    Digest digest{};
    // libsodium refuses no input; a null pointer goes with length 0 only.
    const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
    crypto_hash_sha256(digest.data(), data, bytes.size());
    return digest;
}

}  // namespace sandbox
