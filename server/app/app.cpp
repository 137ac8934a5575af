#include "app/app.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <cstdlib>
#include <exception>
#include <fstream>

#include "app/entrypoint.hpp"
#include "app/metrics.hpp"
#include "app/shutdown.hpp"
#include "app/version.hpp"
#include "base/log.hpp"
#include "base/secret.hpp"
#include "e2b/context.hpp"
#include "koyeb/context.hpp"
#include "platform/listen.hpp"
#include "platform/pipe.hpp"
#include "platform/signals.hpp"
#include "proxy/forwarder.hpp"
#include "services/auth.hpp"

namespace sandbox {
namespace {

using Variables = std::vector<std::pair<std::string, std::string>>;

constexpr std::size_t kFileThreads = 64;   // cap; see BlockingPool for hung file systems
constexpr std::size_t kSpawnThreads = 64;  // cap, likewise for working directories
constexpr std::size_t kWorkThreads = 4;    // /proc, secrets

Variables public_environment() {
    Variables variables;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        std::string_view text(*entry);
        std::size_t equals = text.find('=');
        if (equals == std::string_view::npos || is_private_variable(text.substr(0, equals))) continue;
        std::string_view name = text.substr(0, equals);
        auto same_name = [name](const auto& variable) { return variable.first == name; };
        auto found = std::find_if(variables.begin(), variables.end(), same_name);
        if (found == variables.end()) found = variables.emplace(found, name, "");
        found->second = text.substr(equals + 1);
    }
    return variables;
}

std::string environment_value(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

// /dev/null, or where there is none a pipe at its end.
UniqueFd empty_input() {
    UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (null) return null;
    Result<std::pair<UniqueFd, UniqueFd>> pipe = make_pipe();
    return pipe ? std::move(pipe->first) : UniqueFd();
}

LogLimits log_limits(const Config& config) {
    LogLimits limits;
    limits.disk_budget = config.log_budget;
    limits.store_bytes = config.process_log_budget;
    limits.store_lines = config.log_lines;
    return limits;
}

// A hundred above ours, of a thousand at most (proc(5), oom_score_adj).
int oom_score_of_commands() {
    std::ifstream file("/proc/self/oom_score_adj");
    int own = 0;
    return file >> own ? std::min(own + 100, 1000) : 0;
}

// Members in order of dependency: each uses only what stands above it.
class Daemon {
  public:
    Daemon(Config config, Originals originals, UniqueFd http_listener, UniqueFd proxy_listener,
           UniqueFd envd_listener);
    // Blocks on the secret's file in pool mode. Before run().
    Result<> set_up_auth();
    int run();

  private:
    void on_signal(int signal, pid_t sender);
    void run_loop();
    void finish();
    Task<std::optional<net::Denial>> authorize(const net::Request& request);
    Task<std::optional<net::Denial>> authorize_envd(const net::Request& request);
    e2b::Access envd_access() const;
    Task<> measure_lag();

    Config config_;
    Loop loop_{1};
    BlockingPool file_pool_{loop_, "files", 2, kFileThreads};
    BlockingPool spawn_pool_{loop_, "spawn", 2, kSpawnThreads};
    BlockingPool work_pool_{loop_, "work", 1, kWorkThreads};
    Reaper reaper_{loop_};
    UniqueFd null_fd_{empty_input()};
    SpillDir spill_dir_;
    CgroupPool cgroups_;
    OomKills oom_kills_;
    CommandEnvironment commands_;
    LogBudget logs_;
    ProcessTable processes_;
    std::unique_ptr<Auth> auth_;
    PortBinding binding_;
    proxy::Forwarder forwarder_;
    koyeb::Context context_;
    e2b::Settings envd_settings_;
    e2b::Watchers envd_watchers_{FileWatcher(loop_, file_pool_), {}, {}};
    e2b::Access envd_access_;    // of the listener of its own
    e2b::Access shared_access_;  // of the services on our main port
    e2b::Context envd_context_;
    e2b::Context shared_context_;
    net::Router router_;
    net::Router envd_router_;
    net::HttpServer http_;
    net::HttpServer envd_http_;
    Entrypoint entrypoint_;
    Shutdown shutdown_;
    SignalSource signals_;
    std::chrono::nanoseconds loop_lag_{0};
    int exit_code_ = 0;
};

Daemon::Daemon(Config config, Originals originals, UniqueFd http_listener, UniqueFd proxy_listener,
               UniqueFd envd_listener)
    : config_(std::move(config)),
      spill_dir_(config_.spill_dir, environment_value("TMPDIR")),
      cgroups_(config_.cgroups),
      commands_{loop_,
                spawn_pool_,
                work_pool_,
                reaper_,
                public_environment(),
                originals.nofile_soft,
                config_.drain,
                config_.kill_grace,
                null_fd_.get(),
                cgroups_.available() ? &cgroups_ : nullptr,
                oom_score_of_commands(),
                originals.nice,
                &oom_kills_},
      logs_(loop_, file_pool_, spill_dir_, log_limits(config_)),
      processes_(commands_, logs_, file_pool_, spill_dir_),
      binding_({bound_port(http_listener.get()), bound_port(proxy_listener.get()),
                bound_port(envd_listener.get())}),
      forwarder_(loop_, binding_, std::move(proxy_listener),
                 [this] {
                     proxy::ForwarderOptions options;
                     options.max_connections = config_.proxy_connections;
                     return options;
                 }()),
      context_{loop_,
               file_pool_,
               spill_dir_,
               commands_,
               processes_,
               binding_,
               config_.run_memory,
               [this] { return shutdown_.requested(); },
               [this] {
                   MetricsSources sources{http_,      router_,    processes_, commands_,
                                          reaper_,    forwarder_, file_pool_, spawn_pool_,
                                          work_pool_, logs_,      loop_lag_};
                   return metrics_text(sources);
               }},
      envd_access_(envd_access()),
      shared_access_(config_.secret,
                     [this](const std::string& token) { return auth_ && auth_->matches(token); }),
      envd_context_{
          loop_,        file_pool_,     spill_dir_,     commands_, processes_,
          envd_access_, envd_settings_, envd_watchers_, false,     [this] { return shutdown_.requested(); }},
      shared_context_{loop_,          file_pool_,
                      spill_dir_,     commands_,
                      processes_,     shared_access_,
                      envd_settings_, envd_watchers_,
                      true,           [this] { return shutdown_.requested(); }},
      router_([this] {
          net::Router router({"/koyeb-sandbox"});
          koyeb::add_routes(router, context_);
          e2b::add_routes(router, shared_context_, e2b::RouteSet::shared);
          return router;
      }()),
      envd_router_([this] {
          net::Router router;
          e2b::add_routes(router, envd_context_, e2b::RouteSet::own_listener);
          return router;
      }()),
      http_(
          loop_, router_, [this](const net::Request& request) { return authorize(request); }, config_.http),
      envd_http_(
          loop_, envd_router_, [this](const net::Request& request) { return authorize_envd(request); },
          config_.http),
      entrypoint_(spawn_pool_, reaper_, originals,
                  [this](int code) {
                      exit_code_ = code;
                      shutdown_.requested() ? shutdown_.poke() : shutdown_.request();
                  }),
      shutdown_({loop_,
                 {&http_, &envd_http_},
                 processes_,
                 commands_,
                 entrypoint_,
                 config_.shutdown_budget,
                 [this] { envd_watchers_.wake_streams(); },
                 [this] { finish(); }}),
      signals_(loop_, [this](int signal, pid_t sender) { on_signal(signal, sender); }) {
    wipe(config_.envd_token);
    http_.serve(std::move(http_listener));
    envd_http_.allow_any_origin();
    if (envd_listener) envd_http_.serve(std::move(envd_listener));
    spawn_task(loop_, "loop lag", measure_lag());
}

Result<> Daemon::set_up_auth() {
    if (config_.auth_mode == AuthMode::static_secret) {
        auth_ = std::make_unique<Auth>(loop_, work_pool_, config_.secret);
        return Result<>();
    }
    auto auth = Auth::pool_mode(loop_, work_pool_, config_.secret_path);
    if (!auth) return auth.error();
    auth_ = std::move(*auth);
    return Result<>();
}

int Daemon::run() {
    if (!config_.entrypoint.empty()) {
        spawn_task(loop_, "customer command", entrypoint_.start(config_.entrypoint, commands_.base_env));
    }
    reaper_.sweep();  // Orphans that came before the signal source.
    run_loop();
    log::info("Servers stopped");
    return exit_code_;
}

// What failed for want of memory and had nobody to tell it to is lost, but not the daemon with all that runs.
void Daemon::run_loop() {
    for (;;) {
        try {
            loop_.run();
            return;
        } catch (const std::exception& error) {
            log::error("event lost", {{"error", error.what()}});
        }
    }
}

void Daemon::finish() {
    forwarder_.stop();
    forwarder_.close_all();
    http_.stop();
    envd_http_.stop();
    cgroups_.clean_up();
    loop_.stop();
}

void Daemon::on_signal(int signal, pid_t sender) {
    if (signal == SIGCHLD) {
        reaper_.child_ended(sender);
        shutdown_.poke();
        return;
    }
    bool has_command = !config_.entrypoint.empty() && !entrypoint_.over();
    std::string name = signal_name(signal);
    if (has_command) {
        log::info("Received signal, forwarding to customer command", {{"signal", name}});
        entrypoint_.forward(signal);
    } else {
        log::info("Received signal", {{"signal", name}});
    }
    // With a command beside us a hang-up or quit is its own business, such as re-reading its configuration.
    bool stops =
        signal == SIGTERM || signal == SIGINT || (!has_command && (signal == SIGHUP || signal == SIGQUIT));
    if (stops) shutdown_.request();
}

e2b::Access Daemon::envd_access() const {
    if (config_.envd_insecure) return e2b::Access("");
    std::string_view token = config_.envd_token.empty() ? config_.secret : config_.envd_token;
    if (config_.envd_port.empty()) token = {};  // not kept for nothing
    return e2b::Access(token, [this](const std::string& given) { return auth_ && auth_->matches(given); });
}

Task<std::optional<net::Denial>> Daemon::authorize_envd(const net::Request& request) {
    co_return envd_access_.check(request, true);
}

Task<std::optional<net::Denial>> Daemon::authorize(const net::Request& request) {
    // The services of the other dialect take our bearer secret as well as what its own clients send.
    if (e2b::is_shared_path(request.path) && !bearer_token(request.header("authorization")))
        co_return shared_access_.check(request, false);
    std::optional<std::string> token = bearer_token(request.header("authorization"));
    AuthVerdict verdict = co_await auth_->check(std::move(token));
    net::Denial denial;
    switch (verdict) {
        case AuthVerdict::allowed:
            co_return std::nullopt;
        case AuthVerdict::denied:
            denial.message = "Unauthorized";
            co_return denial;
        default:
            denial.status = 500;
            denial.message = "Internal Server Error";
            co_return denial;
    }
}

Task<> Daemon::measure_lag() {
    constexpr std::chrono::milliseconds kPeriod{1000};
    for (;;) {
        auto due = std::chrono::steady_clock::now() + kPeriod;
        co_await sleep_for(loop_, kPeriod);
        loop_lag_ = std::chrono::steady_clock::now() - due;
    }
}

}  // namespace

int run_daemon(Config config, Originals originals) {
    auto failed = [](const Error& error) {
        log::error(error.message);
        return 1;
    };
    Result<UniqueFd> http_listener = listen_tcp(config.port);
    if (!http_listener) return failed(http_listener.error());
    Result<UniqueFd> proxy_listener = listen_tcp(config.proxy_port);
    if (!proxy_listener) return failed(proxy_listener.error());
    UniqueFd envd_listener;
    if (!config.envd_port.empty()) {
        ListenOptions options;
        options.loopback_only = config.envd_insecure;
        Result<UniqueFd> listener = listen_tcp(config.envd_port, options);
        if (!listener) return failed(listener.error());
        envd_listener = std::move(*listener);
    }
    const bool pool_mode = config.auth_mode == AuthMode::pool;
    const bool envd_insecure = config.envd_insecure;
    const auto http_port = bound_port(http_listener->get());
    const auto proxy_port = bound_port(proxy_listener->get());
    const auto envd_port = envd_listener ? bound_port(envd_listener.get()) : 0;

    // Never destroyed: when the process exits a stuck thread may still use parts of it.
    Daemon* daemon = nullptr;
    try {
        daemon = new Daemon(std::move(config), originals, std::move(*http_listener),
                            std::move(*proxy_listener), std::move(envd_listener));
    } catch (const std::exception& error) {  // no descriptor or thread to be had
        return failed(Error{Errc::resource_exhausted, error.what()});
    }
    if (Result<> ready = daemon->set_up_auth(); !ready) return failed(ready.error());
    // Only now: whoever waits for these lines may rely on everything before them.
    log::info("Starting sandbox-executor",
              {{"version", kVersion}, {"port", http_port}, {"auth_mode", pool_mode ? "pool" : "static"}});
    log::info("Starting TCP proxy", {{"port", proxy_port}});
    if (envd_port != 0) log::info("Starting envd API", {{"port", envd_port}, {"insecure", envd_insecure}});
    return daemon->run();
}

}  // namespace sandbox
