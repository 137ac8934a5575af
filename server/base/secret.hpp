#pragma once
// Handling of secrets. The daemon keeps digests, compares them in constant time and wipes what it read; that
// is meant against other users of the sandbox, not against one that can read our memory.

#include <string>

#include "base/sha256.hpp"

namespace sandbox {

// The time taken does not depend on where two digests differ.
bool equal_constant_time(const Digest& a, const Digest& b);

// Overwrites the whole buffer of the string, what lies past its size included, in a way the compiler does not
// remove; leaves it empty, the buffer kept.
void wipe(std::string& text);

}  // namespace sandbox
