#include "app/entrypoint.hpp"

#include <signal.h>

#include "base/log.hpp"
#include "platform/spawn.hpp"
#include "services/shell_path.hpp"

namespace sandbox {
namespace {

std::string value_of(const std::vector<std::pair<std::string, std::string>>& env, std::string_view name) {
    for (const auto& [key, value] : env) {
        if (key == name) return value;
    }
    return kDefaultPath;
}

Result<pid_t> spawn_entrypoint(const std::vector<std::string>& argv,
                               const std::vector<std::pair<std::string, std::string>>& env,
                               Originals originals) {
    Result<std::string> program = find_program(argv[0], value_of(env, "PATH"), "");
    if (!program) return program.error();
    SpawnSpec spec;
    spec.program = *program;
    spec.argv = argv;
    for (const auto& [key, value] : env) spec.env.push_back(key + "=" + value);
    spec.new_session = false;
    spec.nofile_soft = originals.nofile_soft;
    spec.nice = originals.nice;
    return spawn(spec);
}

}  // namespace

Entrypoint::Entrypoint(BlockingPool& pool, Reaper& reaper, Originals originals,
                       std::function<void(int)> on_end)
    : pool_(pool), reaper_(reaper), originals_(originals), on_end_(std::move(on_end)) {}

Task<> Entrypoint::start(std::vector<std::string> argv,
                         std::vector<std::pair<std::string, std::string>> env) {
    std::string words;
    for (const std::string& word : argv) words += (words.empty() ? "" : " ") + word;
    log::info("Starting customer command", {{"args", "[" + words + "]"}});
    starting_ = true;
    reaper_.begin_spawn();
    auto job = [&] { return spawn_entrypoint(argv, env, originals_); };
    Result<pid_t> spawned = co_await pool_.run(job);
    starting_ = false;
    if (!spawned) {
        failed_ = true;
        reaper_.end_failed_spawn();
        log::error("Customer command cannot be started; the API stays up",
                   {{"error", spawned.error().message}});
        co_return;
    }
    pid_ = *spawned;
    reaper_.watch(pid_, [this](const ExitRecord& record) {
        pid_ = 0;
        exit_code_ = record.status.code();
        if (record.status.signaled()) {
            log::info("Customer command exited",
                      {{"exit_code", *exit_code_}, {"signal", signal_name(record.status.signal())}});
        } else {
            log::info("Customer command exited", {{"exit_code", *exit_code_}});
        }
        on_end_(*exit_code_);
    });
    for (int signal : early_signals_) forward(signal);
    early_signals_.clear();
}

void Entrypoint::forward(int signal) {
    if (starting_) {
        early_signals_.push_back(signal);
        return;
    }
    if (pid_ > 0) ::kill(pid_, signal);
}

}  // namespace sandbox
