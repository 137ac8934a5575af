#pragma once
// What POST /init sets for all later calls.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sandbox::e2b {

// Loop thread.
struct Settings {
    using Variables = std::vector<std::pair<std::string, std::string>>;

    std::string default_user;     // empty: "user" where that account exists, else the daemon's own
    std::string default_workdir;  // empty: the user's home
    Variables variables;          // for every command
    std::optional<std::int64_t> initialised_at;  // the newest "timestamp" seen, in ns since the epoch

    // `variables` with E2B_SANDBOX, which nobody can override.
    Variables all_variables() const {
        Variables all = variables;
        std::erase_if(all, [](const auto& variable) { return variable.first == "E2B_SANDBOX"; });
        all.emplace_back("E2B_SANDBOX", "true");
        return all;
    }
};

}  // namespace sandbox::e2b
