#pragma once
// What all examples share: the address of a sandbox from the environment, and errors on stderr.

#include <koyeb/sandbox.hpp>

#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>

namespace example {

// SANDBOX_URL and SANDBOX_SECRET, as the command line `sandbox` reads them.
inline koyeb::sandbox::Sandbox connect() {
    const auto variable = [](const char* name) {
        const char* value = std::getenv(name);
        return std::string(value == nullptr ? "" : value);
    };
    koyeb::sandbox::ConnectionInfo info;
    info.url = variable("SANDBOX_URL");
    info.secret = variable("SANDBOX_SECRET");
    return koyeb::sandbox::Sandbox::connect(info);
}

// Runs the example; 1 when it threw.
inline int run(void (*body)()) {
    try {
        body();
        return 0;
    } catch (const std::exception& error) {
        std::cerr << "failed: " << error.what() << '\n';
        return 1;
    }
}

}  // namespace example
