#pragma once
// The figures of GET /metrics.

#include <chrono>
#include <string>

#include "net/http_server.hpp"
#include "platform/blocking_pool.hpp"
#include "platform/reaper.hpp"
#include "proxy/forwarder.hpp"
#include "services/command.hpp"
#include "services/process_table.hpp"

namespace sandbox {

struct MetricsSources {
    const net::HttpServer& http;
    const net::Router& router;
    const ProcessTable& processes;
    const CommandEnvironment& commands;
    const Reaper& reaper;
    const proxy::Forwarder& forwarder;
    const BlockingPool& file_pool;
    const BlockingPool& spawn_pool;
    const BlockingPool& work_pool;
    const LogBudget& logs;
    const std::chrono::nanoseconds& loop_lag;
};

// Prometheus text exposition format 0.0.4. Loop thread.
std::string metrics_text(const MetricsSources& sources);

}  // namespace sandbox
