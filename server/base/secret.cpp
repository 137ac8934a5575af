#include "base/secret.hpp"

#include <sodium.h>

namespace sandbox {

bool equal_constant_time(const Digest& a, const Digest& b) {
    return sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

void wipe(std::string& text) {
    text.resize(text.capacity());  // within the capacity: no new buffer
    sodium_memzero(text.data(), text.size());
    text.clear();
}

}  // namespace sandbox
