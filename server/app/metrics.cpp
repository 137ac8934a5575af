#include "app/metrics.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "base/unique_fd.hpp"
#include "platform/memory_reserve.hpp"

namespace sandbox {
namespace {

class Text {
  public:
    void family(const char* name, const char* type, const char* help) {
        out_ += std::string("# HELP ") + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
    }
    void sample(const std::string& name, std::uint64_t value) {
        out_ += name + " " + std::to_string(value) + "\n";
    }
    void single(const char* name, const char* type, const char* help, std::uint64_t value) {
        family(name, type, help);
        sample(name, value);
    }
    std::string take() { return std::move(out_); }
    std::string& raw() { return out_; }

  private:
    std::string out_;
};

// Resident bytes, from /proc/self/statm (proc(5)); 0 without /proc. It is memory, not a disk: reading cannot
// block.
std::uint64_t resident_bytes() {
    UniqueFd fd(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC));
    char buffer[128] = {};
    if (!fd || ::read(fd.get(), buffer, sizeof buffer - 1) <= 0) return 0;
    unsigned long total = 0;
    unsigned long resident = 0;
    if (std::sscanf(buffer, "%lu %lu", &total, &resident) != 2) return 0;
    return static_cast<std::uint64_t>(resident) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

void write_requests(Text& text, const MetricsSources& sources) {
    const net::HttpCounters& counters = sources.http.counters();
    text.family("sandbox_http_requests_total", "counter", "Answers by route and status.");
    auto write = [&](const std::string& route, const std::map<int, std::uint64_t>& statuses) {
        for (const auto& [status, count] : statuses) {
            text.sample("sandbox_http_requests_total{route=\"" + route + "\",status=\"" +
                            std::to_string(status) + "\"}",
                        count);
        }
    };
    for (std::size_t i = 0; i < counters.by_route.size(); ++i)
        write(sources.router.routes()[i].path, counters.by_route[i]);
    write("none", counters.no_route);
    text.single("sandbox_http_connections", "gauge", "Open HTTP connections.", counters.active);
    text.single("sandbox_http_connections_total", "counter", "Accepted HTTP connections.", counters.accepted);
    text.single("sandbox_http_connections_refused_total", "counter", "Closed for being over the limit.",
                counters.refused);
    text.single("sandbox_http_received_bytes_total", "counter", "Bytes read from HTTP clients.",
                counters.bytes_in);
    text.single("sandbox_http_sent_bytes_total", "counter", "Bytes written to HTTP clients.",
                counters.bytes_out);
}

}  // namespace

std::string metrics_text(const MetricsSources& sources) {
    Text text;
    write_requests(text, sources);
    text.single("sandbox_commands_started_total", "counter", "Commands started, by any route.",
                sources.commands.commands_started);
    text.single("sandbox_commands_running", "gauge", "Commands whose leader runs.",
                sources.commands.commands_running);
    text.single("sandbox_command_output_bytes_total", "counter", "Bytes read from commands.",
                sources.commands.output_bytes);
    text.single("sandbox_oom_kills_total", "counter",
                "Processes that the kernel's OOM killer ended: in our cgroup, or else in the machine.",
                sources.commands.oom_kills->now());
    ProcessTable::Counts counts = sources.processes.counts();
    text.family("sandbox_processes", "gauge", "Started processes by state.");
    text.sample("sandbox_processes{state=\"running\"}", counts.running);
    text.sample("sandbox_processes{state=\"completed\"}", counts.completed);
    text.sample("sandbox_processes{state=\"failed\"}", counts.failed);
    text.sample("sandbox_processes{state=\"killed\"}", counts.killed);
    text.single("sandbox_reaped_orphans_total", "counter", "Processes reaped that were nobody's.",
                sources.reaper.orphans_reaped());
    const proxy::ForwarderMetrics forwarded = sources.forwarder.metrics();
    text.single("sandbox_forwarder_connections_total", "counter", "Accepted forwarder connections.",
                forwarded.accepted);
    text.single("sandbox_forwarder_connections", "gauge", "Open forwarder connections.", forwarded.active);
    text.family("sandbox_forwarder_bytes_total", "counter", "Relayed bytes by direction.");
    text.sample("sandbox_forwarder_bytes_total{direction=\"in\"}", forwarded.bytes_to_target);
    text.sample("sandbox_forwarder_bytes_total{direction=\"out\"}", forwarded.bytes_to_client);
    text.family("sandbox_forwarder_failed_total", "counter", "Forwarded connections that failed, by reason.");
    text.sample("sandbox_forwarder_failed_total{reason=\"unbound\"}", forwarded.unbound);
    text.sample("sandbox_forwarder_failed_total{reason=\"refused\"}", forwarded.refused);
    text.sample("sandbox_forwarder_failed_total{reason=\"error\"}", forwarded.dial_errors);
    text.sample("sandbox_forwarder_failed_total{reason=\"reset\"}", forwarded.resets);
    text.single("sandbox_forwarder_pauses_total", "counter", "Times it waited for descriptors or ports.",
                forwarded.pauses);
    text.single("sandbox_log_bytes", "gauge", "Process logs that are kept, in memory and on disk.",
                sources.logs.bytes());
    text.single("sandbox_log_memory_bytes", "gauge", "The part of them in memory.",
                sources.logs.memory_bytes());
    text.single("sandbox_log_disk_bytes", "gauge", "What the file with the other part takes of the disk.",
                sources.logs.disk_bytes());
    text.family("sandbox_pool_threads", "gauge", "Threads for blocking work.");
    text.sample("sandbox_pool_threads{pool=\"files\"}", sources.file_pool.threads());
    text.sample("sandbox_pool_threads{pool=\"spawn\"}", sources.spawn_pool.threads());
    text.sample("sandbox_pool_threads{pool=\"work\"}", sources.work_pool.threads());
    text.family("sandbox_pool_queue", "gauge", "Blocking work that waits for a thread.");
    text.sample("sandbox_pool_queue{pool=\"files\"}", sources.file_pool.queued());
    text.sample("sandbox_pool_queue{pool=\"spawn\"}", sources.spawn_pool.queued());
    text.sample("sandbox_pool_queue{pool=\"work\"}", sources.work_pool.queued());
    text.family("sandbox_loop_lag_seconds", "gauge", "How late the event loop's last timer was.");
    char lag[64];
    std::snprintf(lag, sizeof lag, "sandbox_loop_lag_seconds %.6f\n",
                  std::chrono::duration<double>(sources.loop_lag).count());
    text.raw() += lag;
    text.single("sandbox_memory_reserve_slots", "gauge", "Small allocations that malloc had no memory for.",
                memory_reserve::taken());
    text.single("process_resident_memory_bytes", "gauge", "Resident memory of the daemon.", resident_bytes());
    return text.take();
}

}  // namespace sandbox
