#pragma once

#include <string>

namespace sandbox {

// A random UUID (RFC 4122, version 4), lower case, from the kernel's random source. Thread-safe.
std::string uuid_v4();

}  // namespace sandbox
