#pragma once

namespace sandbox {

inline constexpr const char* kVersion = SANDBOX_VERSION;  // of the project, from CMake

}  // namespace sandbox
