#pragma once
// What the handlers of the E2B envd dialect work with. Built by app/, outlives all requests.

#include <functional>
#include <string>

#include "e2b/access.hpp"
#include "e2b/settings.hpp"
#include "e2b/watchers.hpp"
#include "net/exchange.hpp"
#include "net/router.hpp"
#include "platform/blocking_pool.hpp"
#include "platform/spool.hpp"
#include "services/command.hpp"
#include "services/process_table.hpp"

namespace sandbox::e2b {

struct Context {
    Loop& loop;
    BlockingPool& file_pool;
    SpillDir& spill_dir;
    CommandEnvironment& commands;
    ProcessTable& processes;
    Access& access;
    Settings& settings;
    Watchers& watchers;
    bool init_is_guarded;            // whoever reaches /init may change settings
    std::function<bool()> draining;  // SIGTERM came
};

// Whether a path belongs to this dialect on a listener that it shares with another one.
bool is_shared_path(std::string_view path);

enum class RouteSet {
    own_listener,  // everything
    shared,        // without /health and /metrics, which are the other dialect's
};
void add_routes(net::Router& router, Context& context, RouteSet set);

}  // namespace sandbox::e2b
