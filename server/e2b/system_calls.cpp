// GET /health, /metrics, /envs and POST /init.

#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <thread>

#include "base/json_writer.hpp"
#include "base/log.hpp"
#include "base/rfc3339.hpp"
#include "e2b/handlers.hpp"
#include "e2b/rest.hpp"
#include "platform/event.hpp"

namespace sandbox::e2b {
namespace {

// The version whose wire this is. SDKs look at it to see what a sandbox can do.
constexpr const char* kEnvdVersion = "0.6.13";
constexpr std::chrono::milliseconds kCpuSample{100};
// How far a clock may be from the caller's "timestamp" before it counts as wrong.
constexpr std::chrono::milliseconds kClockBehind{50};
constexpr std::chrono::seconds kClockAhead{5};

struct CpuTimes {
    std::uint64_t idle = 0;
    std::uint64_t total = 0;
};

// The first line of /proc/stat (proc(5)): user nice system idle iowait irq softirq steal.
CpuTimes cpu_times() {
    std::ifstream file("/proc/stat");
    std::string word;
    file >> word;
    CpuTimes times;
    std::uint64_t value = 0;
    for (int column = 0; column < 8 && file >> value; ++column) {
        times.total += value;
        if (column == 3 || column == 4) times.idle += value;
    }
    return times;
}

struct MemoryUse {
    std::uint64_t total = 0;
    std::uint64_t available = 0;
    std::uint64_t cached = 0;
};

MemoryUse memory_use() {
    MemoryUse use;
    std::ifstream file("/proc/meminfo");
    std::string name;
    std::string unit;
    std::uint64_t kilobytes = 0;
    while (file >> name >> kilobytes) {
        std::getline(file, unit);
        if (name == "MemTotal:") use.total = kilobytes * 1024;
        if (name == "MemAvailable:") use.available = kilobytes * 1024;
        if (name == "Cached:") use.cached = kilobytes * 1024;
    }
    return use;
}

std::string metrics_json(CpuTimes before, CpuTimes after) {
    constexpr std::uint64_t kMebibyte = 1024 * 1024;
    MemoryUse memory = memory_use();
    std::uint64_t used = memory.total - std::min(memory.total, memory.available);
    struct statvfs disk {};
    if (::statvfs("/", &disk) != 0) disk = {};
    std::uint64_t disk_total = disk.f_blocks * disk.f_frsize;
    std::uint64_t disk_free = disk.f_bavail * disk.f_frsize;
    double busy = 0;
    if (after.total > before.total) {
        busy = 100.0 * (1.0 - static_cast<double>(after.idle - before.idle) /
                                  static_cast<double>(after.total - before.total));
    }
    char busy_text[16];
    std::snprintf(busy_text, sizeof busy_text, "%.2f", busy);
    std::string body;
    JsonWriter writer(body);
    auto now = std::chrono::system_clock::now().time_since_epoch();
    writer.begin_object()
        .member("ts", std::chrono::duration_cast<std::chrono::seconds>(now).count())
        .member("cpu_count", std::thread::hardware_concurrency());
    writer.key("cpu_used_pct").raw(busy_text);
    writer.member("mem_total_mib", memory.total / kMebibyte).member("mem_used_mib", used / kMebibyte);
    writer.member("mem_total", memory.total).member("mem_used", used).member("mem_cache", memory.cached);
    writer.member("disk_used", disk_total - std::min(disk_total, disk_free)).member("disk_total", disk_total);
    writer.end_object();
    return body;
}

// Nothing when the caller may change settings.
std::optional<std::string> init_refusal(const Context& context, const net::Request& request,
                                        const std::string& body_token) {
    const Access& access = context.access;
    if (access.is_open() || (context.init_is_guarded && body_token.empty())) return std::nullopt;
    const std::string* header = request.header("x-access-token");
    if (!body_token.empty()) {
        if (access.matches(body_token)) return std::nullopt;
        return "access token validation failed";
    }
    if (header != nullptr && access.matches(*header)) return std::nullopt;
    return header != nullptr ? "access token validation failed" : "access token reset not authorized";
}

struct InitCall {
    std::string token;
    Settings::Variables variables;
    std::string user;
    std::string workdir;
    std::optional<std::int64_t> timestamp;
};

Reply<InitCall> parse_init(const Message& body) {
    InitCall call;
    Reply<std::string> token = body.text("accessToken");
    Reply<Settings::Variables> variables = body.text_map("envVars");
    Reply<std::string> user = body.text("defaultUser");
    Reply<std::string> workdir = body.text("defaultWorkdir");
    Reply<std::string> timestamp = body.text("timestamp");
    if (auto error = first_error(token, variables, user, workdir, timestamp)) return *error;
    call.token = std::move(*token);
    call.variables = std::move(*variables);
    call.user = std::move(*user);
    call.workdir = std::move(*workdir);
    if (!timestamp->empty()) {
        call.timestamp = parse_rfc3339(*timestamp);
        if (!call.timestamp) return ConnectError{Code::invalid_argument, "timestamp is not RFC 3339"};
    }
    return call;
}

// The clock of a sandbox is that of its host, and certificates and mounts are its image's: a daemon in it
// that changed them would reach further than the caller asked. It says so instead of being silent.
void tell_what_is_left_alone(const Message& body, const InitCall& call) {
    for (const char* name : {"caBundle", "hyperloopIP", "volumeMounts"}) {
        if (body.has(name)) log::warn("/init: left alone, the sandbox keeps its own", {{"member", name}});
    }
    if (!call.timestamp) return;
    auto now = std::chrono::system_clock::now().time_since_epoch();
    std::chrono::nanoseconds ahead = now - std::chrono::nanoseconds(*call.timestamp);
    if (ahead >= -kClockBehind && ahead <= kClockAhead) return;
    auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(ahead).count();
    log::warn("/init: the clock differs from the caller's and is left alone", {{"ahead_ms", ms}});
}

Task<RestReply<>> initialise(net::Exchange& exchange, Context& context) {
    Reply<std::unique_ptr<Message>> body = co_await read_message(exchange);
    if (!body) co_return RestError{400, body.error().message};
    Reply<InitCall> call = parse_init(**body);
    if (!call) co_return RestError{400, call.error().message};
    if (auto refusal = init_refusal(context, exchange.request(), call->token)) {
        wipe(call->token);
        co_return RestError{401, std::move(*refusal)};
    }
    tell_what_is_left_alone(**body, *call);
    Settings& settings = context.settings;
    bool outdated = call->timestamp && settings.initialised_at && *call->timestamp < *settings.initialised_at;
    if (!outdated) {
        if (context.access.is_open() && !call->token.empty()) context.access.set_token(call->token);
        if (call->timestamp) settings.initialised_at = call->timestamp;
        if ((*body)->has("envVars")) settings.variables = std::move(call->variables);
        if (!call->user.empty()) settings.default_user = std::move(call->user);
        if (!call->workdir.empty()) settings.default_workdir = std::move(call->workdir);
    }
    wipe(call->token);
    co_return RestReply<>();
}

}  // namespace

Task<> handle_envd_health(net::Exchange& exchange, Context&) {
    net::HeaderList headers(1, net::Header{"Cache-Control", "no-store"});
    co_await exchange.respond(204, "", std::string(), std::move(headers));
}

Task<> handle_envd_metrics(net::Exchange& exchange, Context& context) {
    CpuTimes before = cpu_times();
    co_await sleep_for(context.loop, kCpuSample);
    auto job = [before] { return metrics_json(before, cpu_times()); };
    std::string body = co_await context.file_pool.run(job);
    co_await respond_json(exchange, std::move(body));
}

Task<> handle_envs(net::Exchange& exchange, Context& context) {
    std::string body;
    JsonWriter writer(body);
    writer.begin_object();
    for (const auto& [name, value] : context.settings.all_variables()) writer.member(name, value);
    writer.end_object();
    co_await respond_json(exchange, std::move(body));
}

Task<> handle_init(net::Exchange& exchange, Context& context) {
    RestReply<> initialised = co_await initialise(exchange, context);
    if (!initialised) {
        co_await respond_rest_error(exchange, initialised.error());
        co_return;
    }
    net::HeaderList headers(1, net::Header{"X-Envd-Version", kEnvdVersion});
    headers.push_back({"Cache-Control", "no-store"});
    co_await exchange.respond(204, "", std::string(), std::move(headers));
}

}  // namespace sandbox::e2b
