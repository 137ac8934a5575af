#pragma once
/// @file
/// Everything blocking of the sandbox SDK. The asynchronous forms are in `koyeb/sandbox/async_sandbox.hpp`.

#include "koyeb/sandbox/client.hpp"   // IWYU pragma: export
#include "koyeb/sandbox/errors.hpp"   // IWYU pragma: export
#include "koyeb/sandbox/sandbox.hpp"  // IWYU pragma: export
#include "koyeb/sandbox/types.hpp"    // IWYU pragma: export
