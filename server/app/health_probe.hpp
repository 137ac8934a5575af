#pragma once
// `sandbox-executor --health`: the health check of an image that has neither curl nor a shell.

#include <chrono>
#include <string>

#include "base/error.hpp"

namespace sandbox {

// Asks the daemon on this machine for GET /health, on 127.0.0.1 and then on ::1. `port` as resolve_port()
// takes it. Blocks, up to `limit` in total. An error tells the reason to a person: nobody listens, no answer
// in time, or a status other than 200 (503 while it drains).
Result<> probe_health(const std::string& port, std::chrono::milliseconds limit);

}  // namespace sandbox
