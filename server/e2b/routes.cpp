// The table of the E2B envd dialect: where to look for a handler.

#include <algorithm>

#include "e2b/handlers.hpp"

namespace sandbox::e2b {
namespace {

using net::Method;

struct Row {
    std::string_view path;
    Task<> (*handler)(net::Exchange&, Context&);
};
struct UnaryRow {
    std::string_view path;
    UnaryHandler handler;
};

constexpr Row kStreams[] = {
    {"/process.Process/Start", handle_start},
    {"/process.Process/Connect", handle_connect},
    {"/process.Process/StreamInput", handle_stream_input},
    {"/filesystem.Filesystem/WatchDir", handle_watch_dir},
};

constexpr UnaryRow kUnary[] = {
    {"/process.Process/List", list_processes},
    {"/process.Process/SendInput", send_input},
    {"/process.Process/CloseStdin", close_stdin},
    {"/process.Process/SendSignal", send_signal},
    {"/process.Process/Update", update_process},
    {"/filesystem.Filesystem/Stat", stat_path},
    {"/filesystem.Filesystem/MakeDir", make_dir},
    {"/filesystem.Filesystem/Move", move_path},
    {"/filesystem.Filesystem/ListDir", list_dir},
    {"/filesystem.Filesystem/Remove", remove_path},
    {"/filesystem.Filesystem/CreateWatcher", create_watcher},
    {"/filesystem.Filesystem/GetWatcherEvents", get_watcher_events},
    {"/filesystem.Filesystem/RemoveWatcher", remove_watcher},
};

struct PlainRow {
    std::string_view path;
    std::vector<Method> methods;
    Task<> (*handler)(net::Exchange&, Context&);
    bool shared = true;
};

const PlainRow plain_rows[] = {
    {"/files", {Method::get, Method::post}, handle_files},
    {"/files/compose", {Method::post}, handle_compose},
    {"/envs", {Method::get}, handle_envs},
    {"/init", {Method::post}, handle_init},
    {"/health", {Method::get}, handle_envd_health, false},
    {"/metrics", {Method::get}, handle_envd_metrics, false},
};

}  // namespace

bool is_shared_path(std::string_view path) {
    auto matches = [path](const auto& row) { return row.path == path; };
    auto matches_shared = [path](const PlainRow& row) { return row.shared && row.path == path; };
    return std::ranges::any_of(kStreams, matches) || std::ranges::any_of(kUnary, matches) ||
           std::ranges::any_of(plain_rows, matches_shared);
}

void add_routes(net::Router& router, Context& context, RouteSet set) {
    auto add = [&](std::string_view path, std::vector<Method> methods, net::Handler handler) {
        net::Route route;
        route.path = path;
        route.methods = std::move(methods);
        route.handler = std::move(handler);
        router.add(std::move(route));
    };
    for (const Row& row : kStreams) {
        add(row.path, {Method::post}, [handler = row.handler, &context](net::Exchange& exchange) {
            return handler(exchange, context);
        });
    }
    for (const UnaryRow& row : kUnary) {
        add(row.path, {Method::post}, [handler = row.handler, &context](net::Exchange& exchange) {
            return serve_unary(exchange, context, handler);
        });
    }
    for (const PlainRow& row : plain_rows) {
        if (set == RouteSet::shared && !row.shared) continue;
        add(row.path, row.methods, [handler = row.handler, &context](net::Exchange& exchange) {
            return handler(exchange, context);
        });
    }
}

}  // namespace sandbox::e2b
