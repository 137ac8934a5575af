#pragma once
// The handlers of the E2B envd dialect, one a route (see routes.cpp). Each answers its exchange, whatever
// happens; the unary ones return their answer.

#include "e2b/context.hpp"
#include "e2b/rpc.hpp"

namespace sandbox::e2b {

// process.Process
Task<> handle_start(net::Exchange& exchange, Context& context);
Task<> handle_connect(net::Exchange& exchange, Context& context);
Task<> handle_stream_input(net::Exchange& exchange, Context& context);
Task<Reply<std::string>> list_processes(UnaryCall& call);
Task<Reply<std::string>> send_input(UnaryCall& call);
Task<Reply<std::string>> close_stdin(UnaryCall& call);
Task<Reply<std::string>> send_signal(UnaryCall& call);
Task<Reply<std::string>> update_process(UnaryCall& call);

// filesystem.Filesystem
Task<Reply<std::string>> stat_path(UnaryCall& call);
Task<Reply<std::string>> make_dir(UnaryCall& call);
Task<Reply<std::string>> move_path(UnaryCall& call);
Task<Reply<std::string>> list_dir(UnaryCall& call);
Task<Reply<std::string>> remove_path(UnaryCall& call);
Task<> handle_watch_dir(net::Exchange& exchange, Context& context);
Task<Reply<std::string>> create_watcher(UnaryCall& call);
Task<Reply<std::string>> get_watcher_events(UnaryCall& call);
Task<Reply<std::string>> remove_watcher(UnaryCall& call);

// plain HTTP
Task<> handle_files(net::Exchange& exchange, Context& context);  // GET downloads, POST uploads
Task<> handle_download(net::Exchange& exchange, Context& context);
Task<> handle_upload(net::Exchange& exchange, Context& context);
Task<> handle_compose(net::Exchange& exchange, Context& context);
Task<> handle_envd_health(net::Exchange& exchange, Context& context);
Task<> handle_envd_metrics(net::Exchange& exchange, Context& context);
Task<> handle_envs(net::Exchange& exchange, Context& context);
Task<> handle_init(net::Exchange& exchange, Context& context);

}  // namespace sandbox::e2b
