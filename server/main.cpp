// sandbox-executor: process set-up, configuration, and then the daemon (app/app.hpp).

#include <malloc.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "app/app.hpp"
#include "app/config.hpp"
#include "app/health_probe.hpp"
#include "base/log.hpp"
#include "platform/priority.hpp"
#include "platform/signals.hpp"

namespace {

// Whoever may read our /proc entries must not find a secret there: neither in the environment nor in the
// arguments.
void wipe_secrets(int argc, char** argv) {
    for (char** entry = environ; *entry != nullptr; ++entry) {
        char* equals = std::strchr(*entry, '=');
        if (equals == nullptr) continue;
        std::string_view name(*entry, equals);
        if (name.starts_with("SANDBOX_SECRET") || name == "ENVD_ACCESS_TOKEN")
            ::explicit_bzero(equals + 1, std::strlen(equals + 1));
    }
    for (int i = 1; i < argc && std::strcmp(argv[i], "--") != 0; ++i) {
        char* equals = std::strchr(argv[i], '=');
        std::string_view flag = equals != nullptr ? std::string_view(argv[i], equals) : argv[i];
        if (flag != "--secret" && flag != "--envd-access-token") continue;
        char* value = equals != nullptr ? equals + 1 : i + 1 < argc ? argv[++i] : nullptr;
        if (value != nullptr) ::explicit_bzero(value, std::strlen(value));
    }
}

}  // namespace

int main(int argc, char** argv) {
    // The pools' threads share one arena (mallopt(3)): one each would keep what its busiest moment needed.
    ::mallopt(M_ARENA_MAX, 2);
    sandbox::prepare_process();
    sandbox::Originals originals;
    originals.nofile_soft = sandbox::raise_descriptor_limit();
    auto get_env = [](std::string_view name) -> std::optional<std::string> {
        const char* value = std::getenv(std::string(name).c_str());
        return value == nullptr ? std::nullopt : std::optional<std::string>(value);
    };
    auto parsed = sandbox::parse_config(std::vector<std::string>(argv + 1, argv + argc), get_env);
    wipe_secrets(argc, argv);
    ::prctl(PR_SET_DUMPABLE, 0);
    if (parsed && !parsed->print.empty()) {
        std::fputs(parsed->print.c_str(), stdout);
        return std::fflush(stdout) == 0 ? 0 : 1;
    }
    if (parsed && parsed->health) {
        sandbox::Result<> healthy = sandbox::probe_health(parsed->config.port, std::chrono::seconds(3));
        if (!healthy) std::fprintf(stderr, "%s\n", healthy.error().message.c_str());
        return healthy ? 0 : 1;
    }
    // The command behind "--" is in our session, and gains nothing by being there.
    if (parsed) originals.nice = sandbox::raise_own_priority(parsed->config.entrypoint.empty());
    try {
        sandbox::log::init(parsed ? parsed->config.log_level : sandbox::log::Level::info);
    } catch (const std::exception& error) {  // not even one thread
        std::fprintf(stderr, "level=ERROR msg=\"start the log: %s\"\n", error.what());
        return 1;
    }
    if (!parsed) sandbox::log::error(parsed.error().message);
    int code = parsed ? sandbox::run_daemon(std::move(parsed->config), originals) : 1;
    sandbox::log::flush_and_stop();
    // Without unwinding: a thread may be stuck in a hung file system, and it must not hold us up.
    std::_Exit(code);
}
