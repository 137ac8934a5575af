// The table of the Koyeb dialect: where to look for a handler.

#include <algorithm>

#include "koyeb/handlers.hpp"

namespace sandbox::koyeb {

using net::Method;

Task<> handle_health(net::Exchange& exchange, Context& context) {
    bool draining = context.draining();
    const char* body = draining ? "{\"status\":\"draining\"}" : "{\"status\":\"ok\"}";
    const int status = draining ? 503 : 200;
    co_await exchange.respond(status, "application/json", body);
}

Task<> handle_metrics(net::Exchange& exchange, Context& context) {
    co_await exchange.respond(200, "text/plain; version=0.0.4; charset=utf-8", context.metrics());
}

void add_routes(net::Router& router, Context& context) {
    struct Entry {
        const char* path;
        Method method;
        Task<> (*handler)(net::Exchange&, Context&);
        bool open = false;
    };
    static constexpr Entry kRoutes[] = {
        {"/health", Method::get, handle_health, true},
        {"/openapi.json", Method::get, handle_openapi, true},
        {"/metrics", Method::get, handle_metrics},
        {"/run", Method::post, handle_run},
        {"/run_streaming", Method::post, handle_run_streaming},
        {"/start_process", Method::post, handle_start_process},
        {"/list_processes", Method::get, handle_list_processes},
        {"/get_process", Method::get, handle_get_process},
        {"/kill_process", Method::post, handle_kill_process},
        {"/signal_process", Method::post, handle_signal_process},
        {"/send_stdin", Method::post, handle_send_stdin},
        {"/process_logs_streaming", Method::get, handle_process_logs},
        {"/read_file", Method::post, handle_read_file},
        {"/write_file", Method::post, handle_write_file},
        {"/delete_file", Method::post, handle_delete_file},
        {"/make_dir", Method::post, handle_make_dir},
        {"/delete_dir", Method::post, handle_delete_dir},
        {"/list_dir", Method::post, handle_list_dir},
        {"/stat", Method::post, handle_stat},
        {"/move", Method::post, handle_move},
        {"/copy", Method::post, handle_copy},
        {"/bind_port", Method::post, handle_bind_port},
        {"/unbind_port", Method::post, handle_unbind_port},
    };
    for (const Entry& entry : kRoutes) {
        net::Route route;
        route.path = entry.path;
        route.methods = {entry.method};
        route.open = entry.open;
        route.handler = [handler = entry.handler, &context](net::Exchange& exchange) {
            return handler(exchange, context);
        };
        router.add(std::move(route));
    }
}

}  // namespace sandbox::koyeb
