// The daemon's settings. Input: lines, which are arguments, up to an empty one, and then NAME=value lines,
// which are the environment. A setting means the same as a flag and as a variable.

#include "app/config.hpp"

#include <map>
#include <string>
#include <vector>

#include "fuzz/fuzz_input.hpp"

using namespace sandbox;

namespace {

struct Given {
    std::vector<std::string> arguments;
    std::map<std::string, std::string, std::less<>> variables;

    Result<ParsedCommandLine> parse() const {
        return parse_config(arguments, [this](std::string_view name) -> std::optional<std::string> {
            auto found = variables.find(name);
            return found == variables.end() ? std::nullopt : std::optional(found->second);
        });
    }
};

Given read(std::string_view text) {
    Given given;
    bool in_environment = false;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string line(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
        const std::size_t equals = line.find('=');
        if (line.empty()) {
            in_environment = true;
        } else if (!in_environment) {
            given.arguments.push_back(line);
        } else if (equals != std::string::npos) {
            given.variables.emplace(line.substr(0, equals), line.substr(equals + 1));
        }
    }
    return given;
}

// All that can be compared of a configuration.
std::string text_of(const Config& c) {
    std::string text = c.port + '\n' + c.proxy_port + '\n' + c.secret + '\n' + c.secret_path + '\n' +
                       c.spill_dir + '\n' + c.envd_port + '\n' + c.envd_token;
    for (const std::uint64_t number :
         {std::uint64_t(c.auth_mode), std::uint64_t(c.log_level), std::uint64_t(c.http.head_bytes),
          c.http.body_bytes, std::uint64_t(c.http.head_time.count()), std::uint64_t(c.http.body_time.count()),
          std::uint64_t(c.http.idle_time.count()), std::uint64_t(c.http.connections),
          std::uint64_t(c.proxy_connections), std::uint64_t(c.drain.count()),
          std::uint64_t(c.kill_grace.count()), std::uint64_t(c.shutdown_budget.count()), c.log_budget,
          c.process_log_budget, c.log_lines, c.run_memory, std::uint64_t(c.cgroups),
          std::uint64_t(c.envd_insecure)}) {
        text += '\n' + std::to_string(number);
    }
    return text;
}

void check_sane(const Config& config) {
    FUZZ_CHECK(!config.port.empty() && !config.proxy_port.empty());
    FUZZ_CHECK(config.auth_mode == AuthMode::pool || !config.secret.empty());
    FUZZ_CHECK(config.http.head_bytes >= 1024 && config.http.connections > 0 && config.proxy_connections > 0);
    FUZZ_CHECK(config.http.head_time.count() > 0 && config.http.head_time < std::chrono::hours(1'000'000));
    FUZZ_CHECK(config.drain.count() >= 0 && config.kill_grace.count() >= 0 &&
               config.shutdown_budget.count() >= 0);
}

// "--proxy-port" is PROXY_PORT; the others are SANDBOX_… of it, or named below.
std::string variable_of(const std::string& flag) {
    static const std::map<std::string, std::string> kNamed = {{"--port", "PORT"},
                                                              {"--proxy-port", "PROXY_PORT"},
                                                              {"--log-level", "LOG_LEVEL"},
                                                              {"--envd-port", "ENVD_PORT"},
                                                              {"--envd-access-token", "ENVD_ACCESS_TOKEN"},
                                                              {"--envd-insecure", "ENVD_INSECURE"}};
    if (auto named = kNamed.find(flag); named != kNamed.end()) return named->second;
    std::string name = "SANDBOX_";
    for (const char c : flag.substr(2)) name += c == '-' ? '_' : c >= 'a' && c <= 'z' ? char(c - 32) : c;
    return name;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Given given = read({reinterpret_cast<const char*>(data), size});
    const Result<ParsedCommandLine> parsed = given.parse();
    if (!parsed) {
        FUZZ_CHECK(!parsed.error().message.empty());
        return 0;
    }
    if (!parsed->print.empty() || parsed->health) return 0;
    check_sane(parsed->config);

    // The same with all flags as variables.
    Given moved;
    moved.variables = given.variables;
    for (std::size_t i = 0; i < given.arguments.size(); ++i) {
        std::string flag = given.arguments[i];
        if (flag == "--") break;
        const std::size_t equals = flag.find('=');
        const std::string value =
            equals != std::string::npos ? flag.substr(equals + 1) : given.arguments[++i];
        flag.resize(std::min(equals, flag.size()));
        // An empty one is no value, and hides the variable.
        if (value.empty()) moved.variables.erase(variable_of(flag));
        if (!value.empty()) moved.variables[variable_of(flag)] = value;
    }
    const Result<ParsedCommandLine> again = moved.parse();
    FUZZ_CHECK(again.has_value());
    FUZZ_CHECK(text_of(again->config) == text_of(parsed->config));
    return 0;
}
