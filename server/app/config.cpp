#include "app/config.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <type_traits>

#include "app/version.hpp"
#include "base/number.hpp"
#include "base/secret.hpp"
#include "base/trim.hpp"

namespace sandbox {
namespace {

// `name` is what an error calls the setting.
using Setter = Result<> (*)(Config& config, const char* name, const std::string& value);

struct Setting {
    const char* variable;
    const char* flag;
    const char* argument;
    const char* help;
    Setter set;
};

Error bad(const char* name, const std::string& value, const std::string& wanted) {
    return Error{Errc::invalid_argument, std::string(name) + " \"" + value + "\": " + wanted, 0};
}

Result<std::uint64_t> number(const char* name, const std::string& value, std::uint64_t least,
                             std::uint64_t most) {
    const auto result = parse_number<std::uint64_t>(value);
    if (!result || *result < least || *result > most) {
        return bad(name, value,
                   "want a whole number from " + std::to_string(least) + " to " + std::to_string(most));
    }
    return *result;
}

// Seconds, fractions allowed.
Result<std::chrono::milliseconds> seconds(const char* name, const std::string& value) {
    const auto result = parse_number<double>(value);
    if (!result || !(*result >= 0) || *result > 1e6) return bad(name, value, "want seconds, 0 or more");
    return std::chrono::milliseconds(static_cast<std::int64_t>(*result * 1000));
}

template <class T, T Config::*Member>
Result<> set_text(Config& config, const char*, const std::string& value) {
    config.*Member = value;
    return Result<>();
}

template <class T, T Config::*Member, std::uint64_t Least>
Result<> set_number(Config& config, const char* name, const std::string& value) {
    auto parsed = number(name, value, Least, 1ULL << 50);
    if (!parsed) return parsed.error();
    config.*Member = static_cast<T>(*parsed);
    return Result<>();
}

template <std::chrono::milliseconds Config::*Member>
Result<> set_milliseconds(Config& config, const char* name, const std::string& value) {
    auto parsed = seconds(name, value);
    if (!parsed) return parsed.error();
    config.*Member = *parsed;
    return Result<>();
}

template <auto Member, std::uint64_t Least>
Result<> set_limit(Config& config, const char* name, const std::string& value) {
    auto& limit = config.http.*Member;
    using Limit = std::decay_t<decltype(limit)>;
    // Seconds that can be added to the present time in nanoseconds.
    constexpr std::uint64_t kMost = std::is_same_v<Limit, std::chrono::seconds> ? 1'000'000'000 : 1ULL << 50;
    auto parsed = number(name, value, Least, kMost);
    if (!parsed) return parsed.error();
    limit = Limit(*parsed);
    return Result<>();
}

Result<> set_mode(Config& config, const char*, const std::string& value) {
    std::string lower(value);
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (lower != "static" && lower != "pool") {
        return Error{Errc::invalid_argument, "unsupported SANDBOX_AUTH_MODE \"" + value + "\"", 0};
    }
    config.auth_mode = lower == "pool" ? AuthMode::pool : AuthMode::static_secret;
    return Result<>();
}

Result<> set_cgroups(Config& config, const char* name, const std::string& value) {
    if (value != "auto" && value != "off") return bad(name, value, "want auto or off");
    config.cgroups = value == "auto";
    return Result<>();
}

Result<> set_envd_port(Config& config, const char*, const std::string& value) {
    if (value == "off") {
        config.envd_port.clear();
    } else {
        config.envd_port = value;
    }
    return Result<>();
}

Result<> set_envd_insecure(Config& config, const char* name, const std::string& value) {
    if (value != "0" && value != "1") return bad(name, value, "want 0 or 1");
    config.envd_insecure = value == "1";
    return Result<>();
}

Result<> set_level(Config& config, const char*, const std::string& value) {
    config.log_level = log::level_from(value);
    return Result<>();
}

Result<> read_secret_file(Config& config, const char*, const std::string& path) {
    constexpr std::size_t kMost = 64 * 1024;  // a request's head could hold no longer one
    std::ifstream file(path, std::ios::binary);
    std::string text(kMost + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    // A directory can be opened, and fails when it is read.
    if (!file.is_open() || file.bad())
        return Error{Errc::not_found, "cannot read secret file \"" + path + "\"", 0};
    text.resize(static_cast<std::size_t>(file.gcount()));
    if (text.size() > kMost)
        return Error{Errc::invalid_argument, "secret file \"" + path + "\" is larger than 64 KiB", 0};
    config.secret = trimmed(text);
    wipe(text);
    if (config.secret.empty())
        return Error{Errc::invalid_argument, "secret file \"" + path + "\" is empty", 0};
    return Result<>();
}

// The one list of settings: parsing, --help and the README's table follow it.
constexpr Setting kSettings[] = {
    {"PORT", "--port", "PORT", "HTTP API; 0 takes a free port (3030)", set_text<std::string, &Config::port>},
    {"PROXY_PORT", "--proxy-port", "PORT", "TCP forwarder (3031)",
     set_text<std::string, &Config::proxy_port>},
    {"SANDBOX_AUTH_MODE", "--auth-mode", "MODE", "static or pool (static)", set_mode},
    {"SANDBOX_SECRET", "--secret", "TEXT", "the bearer secret of static mode",
     set_text<std::string, &Config::secret>},
    {"SANDBOX_SECRET_FILE", "--secret-file", "FILE", "a file that holds the secret instead",
     read_secret_file},
    {"SANDBOX_SECRET_PATH", "--secret-path", "FILE", "where pool mode keeps the claimed secret",
     set_text<std::string, &Config::secret_path>},
    {"LOG_LEVEL", "--log-level", "LEVEL", "TRACE, DEBUG, INFO, WARN or ERROR (INFO)", set_level},
    {"SANDBOX_MAX_HEADER_BYTES", "--max-header-bytes", "N", "largest request head (65536)",
     set_limit<&net::HttpLimits::head_bytes, 1024>},
    {"SANDBOX_MAX_BODY_BYTES", "--max-body-bytes", "N", "largest JSON body (1073741824)",
     set_limit<&net::HttpLimits::body_bytes, 1>},
    {"SANDBOX_HEADER_TIMEOUT", "--header-timeout", "SECONDS", "for a request's head (30)",
     set_limit<&net::HttpLimits::head_time, 1>},
    {"SANDBOX_BODY_TIMEOUT", "--body-timeout", "SECONDS", "without a byte of an awaited body (60)",
     set_limit<&net::HttpLimits::body_time, 1>},
    {"SANDBOX_IDLE_TIMEOUT", "--idle-timeout", "SECONDS", "of an idle connection (300)",
     set_limit<&net::HttpLimits::idle_time, 1>},
    {"SANDBOX_MAX_CONNECTIONS", "--max-connections", "N", "HTTP connections at once (10000)",
     set_limit<&net::HttpLimits::connections, 1>},
    {"SANDBOX_MAX_PROXY_CONNECTIONS", "--max-proxy-connections", "N", "forwarded connections at once (10000)",
     set_number<std::size_t, &Config::proxy_connections, 1>},
    {"SANDBOX_DRAIN", "--drain", "SECONDS", "silence after a command's exit that ends its output (0.1)",
     set_milliseconds<&Config::drain>},
    {"SANDBOX_KILL_GRACE", "--kill-grace", "SECONDS", "from SIGTERM to SIGKILL (5)",
     set_milliseconds<&Config::kill_grace>},
    {"SANDBOX_SHUTDOWN_TIMEOUT", "--shutdown-timeout", "SECONDS", "from SIGTERM to our own exit (5)",
     set_milliseconds<&Config::shutdown_budget>},
    {"SANDBOX_LOG_BUDGET", "--log-budget", "BYTES", "process logs in total (268435456)",
     set_number<std::uint64_t, &Config::log_budget, 1>},
    {"SANDBOX_PROCESS_LOG_BUDGET", "--process-log-budget", "BYTES", "log of one process (16777216)",
     set_number<std::uint64_t, &Config::process_log_budget, 1>},
    {"SANDBOX_LOG_LINES", "--log-lines", "N", "log lines kept of one process (10000)",
     set_number<std::uint64_t, &Config::log_lines, 1>},
    {"SANDBOX_RUN_MEMORY", "--run-memory", "BYTES", "output of /run in memory before it spills (4194304)",
     set_number<std::uint64_t, &Config::run_memory, 0>},
    {"SANDBOX_SPILL_DIR", "--spill-dir", "DIR", "where spilled output goes ($TMPDIR, /tmp, ...)",
     set_text<std::string, &Config::spill_dir>},
    {"SANDBOX_CGROUPS", "--cgroups", "MODE", "a cgroup for every command where possible: auto or off (auto)",
     set_cgroups},
    {"ENVD_PORT", "--envd-port", "PORT", "E2B envd API, usually 49983 (off)", set_envd_port},
    {"ENVD_ACCESS_TOKEN", "--envd-access-token", "TEXT", "its access token (the sandbox secret)",
     set_text<std::string, &Config::envd_token>},
    {"ENVD_INSECURE", "--envd-insecure", "FLAG", "1: its loopback address, open until /init sets a token (0)",
     set_envd_insecure},
};

std::string help_text() {
    std::string text =
        "Usage: sandbox-executor [FLAGS] [-- COMMAND ARGS...]\n\n"
        "Serves the sandbox API: commands, processes and files over HTTP, and a TCP forwarder.\n"
        "COMMAND runs beside it; its end ends the daemon with its exit code.\n\n"
        "Every flag has a variable; the flag wins.\n\n";
    for (const Setting& setting : kSettings) {
        std::string flag = std::string("  ") + setting.flag + " " + setting.argument;
        flag.resize(std::max<std::size_t>(flag.size() + 1, 36), ' ');
        text += flag + setting.variable + "\n" + std::string(36, ' ') + setting.help + "\n";
    }
    text +=
        "  --health                          ask the daemon on PORT whether it is well, 0 or 1, and no more\n"
        "  --help                            this text\n  --version                         the version\n";
    return text;
}

const Setting* find_flag(std::string_view flag) {
    for (const Setting& setting : kSettings) {
        if (flag == setting.flag) return &setting;
    }
    return nullptr;
}

Result<> check(const Config& config) {
    if (config.auth_mode == AuthMode::pool && !config.secret.empty()) {
        return Error{Errc::invalid_argument, "SANDBOX_SECRET cannot be set when SANDBOX_AUTH_MODE=pool", 0};
    }
    if (config.auth_mode == AuthMode::static_secret && config.secret.empty()) {
        return Error{Errc::invalid_argument, "SANDBOX_SECRET environment variable not set", 0};
    }
    if (config.port == config.proxy_port && config.port != "0") {
        return Error{Errc::invalid_argument, "PORT and PROXY_PORT are both " + config.port, 0};
    }
    if (config.envd_insecure && !config.envd_token.empty()) {
        return Error{Errc::invalid_argument, "ENVD_ACCESS_TOKEN cannot be set with ENVD_INSECURE=1", 0};
    }
    return Result<>();
}

using Flags = std::map<const Setting*, std::string>;

// All but the values of the flags, which it collects. Stops at what is only printed.
Result<> read_arguments(const std::vector<std::string>& arguments, ParsedCommandLine& parsed, Flags& flags) {
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& argument = arguments[i];
        if (argument == "--") {
            parsed.config.entrypoint.assign(arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                                            arguments.end());
            break;
        }
        if (argument == "--help" || argument == "-h") {
            parsed.print = help_text();
            break;
        }
        if (argument == "--version") {
            parsed.print = std::string("sandbox-executor ") + kVersion + "\n";
            break;
        }
        if (argument == "--health") {
            parsed.health = true;
            continue;
        }
        std::size_t equals = argument.find('=');
        const Setting* setting = find_flag(std::string_view(argument).substr(0, equals));
        if (setting == nullptr) {
            return Error{Errc::invalid_argument,
                         "unknown argument \"" + argument + "\" (try --help; a command goes behind --)", 0};
        }
        if (equals != std::string::npos) {
            flags[setting] = argument.substr(equals + 1);
        } else if (i + 1 < arguments.size()) {
            flags[setting] = arguments[++i];
        } else {
            return Error{Errc::invalid_argument, std::string(setting->flag) + " wants a value", 0};
        }
    }
    return Result<>();
}

}  // namespace

Result<ParsedCommandLine> parse_config(const std::vector<std::string>& arguments, const GetEnv& get_env) {
    ParsedCommandLine parsed;
    Flags flags;
    if (Result<> read = read_arguments(arguments, parsed, flags); !read) return read.error();
    if (!parsed.print.empty()) return parsed;
    for (const Setting& setting : kSettings) {
        if (parsed.health && std::string_view(setting.variable) != "PORT") continue;
        auto flag = flags.find(&setting);
        std::optional<std::string> value = flag != flags.end() ? flag->second : get_env(setting.variable);
        if (!value || value->empty()) continue;
        if (Result<> set = setting.set(parsed.config, setting.variable, *value); !set) return set.error();
    }
    if (parsed.health) return parsed;
    // No header can hold white space around a token.
    for (std::string* token : {&parsed.config.secret, &parsed.config.envd_token})
        token->assign(trimmed(*token));
    if (Result<> checked = check(parsed.config); !checked) return checked.error();
    return parsed;
}

bool is_private_variable(std::string_view name) {
    return name.starts_with("SANDBOX_SECRET") || name == "SANDBOX_AUTH_MODE" || name == "PORT" ||
           name == "PROXY_PORT" || name.starts_with("ENVD_");
}

}  // namespace sandbox
