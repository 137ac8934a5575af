#pragma once
// The handlers of the Koyeb dialect, one a route (see routes.cpp). Each answers its exchange, whatever
// happens.

#include "koyeb/context.hpp"

namespace sandbox::koyeb {

Task<> handle_health(net::Exchange& exchange, Context& context);
Task<> handle_metrics(net::Exchange& exchange, Context& context);
Task<> handle_openapi(net::Exchange& exchange, Context& context);

Task<> handle_run(net::Exchange& exchange, Context& context);
Task<> handle_run_streaming(net::Exchange& exchange, Context& context);

Task<> handle_start_process(net::Exchange& exchange, Context& context);
Task<> handle_list_processes(net::Exchange& exchange, Context& context);
Task<> handle_get_process(net::Exchange& exchange, Context& context);
Task<> handle_kill_process(net::Exchange& exchange, Context& context);
Task<> handle_signal_process(net::Exchange& exchange, Context& context);
Task<> handle_send_stdin(net::Exchange& exchange, Context& context);
Task<> handle_process_logs(net::Exchange& exchange, Context& context);

Task<> handle_read_file(net::Exchange& exchange, Context& context);
Task<> handle_write_file(net::Exchange& exchange, Context& context);
Task<> handle_delete_file(net::Exchange& exchange, Context& context);
Task<> handle_make_dir(net::Exchange& exchange, Context& context);
Task<> handle_delete_dir(net::Exchange& exchange, Context& context);
Task<> handle_list_dir(net::Exchange& exchange, Context& context);
Task<> handle_stat(net::Exchange& exchange, Context& context);
Task<> handle_move(net::Exchange& exchange, Context& context);
Task<> handle_copy(net::Exchange& exchange, Context& context);

Task<> handle_bind_port(net::Exchange& exchange, Context& context);
Task<> handle_unbind_port(net::Exchange& exchange, Context& context);

}  // namespace sandbox::koyeb
