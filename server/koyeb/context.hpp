#pragma once
// What the handlers of the Koyeb dialect work with. Built by app/, outlives all requests.

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "net/exchange.hpp"
#include "net/router.hpp"
#include "platform/blocking_pool.hpp"
#include "platform/spool.hpp"
#include "services/command.hpp"
#include "services/port_binding.hpp"
#include "services/process_table.hpp"

namespace sandbox::koyeb {

struct Context {
    Loop& loop;
    BlockingPool& file_pool;
    SpillDir& spill_dir;
    CommandEnvironment& commands;
    ProcessTable& processes;
    PortBinding& binding;
    std::size_t run_memory;                // bytes of one stream of /run that wait in memory to be encoded
    std::function<bool()> draining;        // SIGTERM came
    std::function<std::string()> metrics;  // Prometheus text
    // Commands of /run_streaming that take input, by id, for as long as they are streamed.
    std::map<std::string, std::shared_ptr<Command>, std::less<>> streamed = {};
};

// Adds every route of this dialect.
void add_routes(net::Router& router, Context& context);

}  // namespace sandbox::koyeb
