#pragma once
// Everything that can be set, from flags and environment, validated once. Nobody else reads the environment.

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/log.hpp"
#include "net/http_server.hpp"

namespace sandbox {

enum class AuthMode { static_secret, pool };

struct Config {
    std::string port = "3030";  // number or service name; "0" takes any free one and logs it
    std::string proxy_port = "3031";
    AuthMode auth_mode = AuthMode::static_secret;
    std::string secret;  // static mode; wiped by whoever turns it into a digest
    std::string secret_path = "/var/lib/sandbox-container/sandbox-secret";  // pool mode
    log::Level log_level = log::Level::info;
    net::HttpLimits http;
    std::size_t proxy_connections = 10'000;
    std::chrono::milliseconds drain{100};
    std::chrono::milliseconds kill_grace{5000};
    std::chrono::milliseconds shutdown_budget{5000};
    std::uint64_t log_budget = 256ULL * 1024 * 1024;
    std::uint64_t process_log_budget = 16ULL * 1024 * 1024;
    std::uint64_t log_lines = 10'000;
    std::uint64_t run_memory = 4ULL * 1024 * 1024;  // of a /run's output, before it spills
    std::string spill_dir;
    bool cgroups = true;                  // a cgroup for every command, where they can be had
    std::string envd_port;                // the E2B envd API; empty: not served on a port of its own
    std::string envd_token;               // its access token; empty: the sandbox secret
    bool envd_insecure = false;           // no token until /init sets one, on loopback only
    std::vector<std::string> entrypoint;  // behind "--"
};

struct ParsedCommandLine {
    Config config;
    std::string print;    // text of --help or --version: print it and exit 0
    bool health = false;  // --health: ask the daemon on config.port, which needs no secret
};

using GetEnv = std::function<std::optional<std::string>(std::string_view name)>;

// Flags win over variables; an empty variable counts as unset. Reads SANDBOX_SECRET_FILE. Errors are one line
// for a person.
Result<ParsedCommandLine> parse_config(const std::vector<std::string>& arguments, const GetEnv& get_env);

// True for variables that no command may see: secrets, the daemon's own ports, envd's settings.
bool is_private_variable(std::string_view name);

}  // namespace sandbox
