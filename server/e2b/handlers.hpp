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
Task<Reply<std::string>> list_processes(const UnaryCall& call);
Task<Reply<std::string>> send_input(const UnaryCall& call);
Task<Reply<std::string>> close_stdin(const UnaryCall& call);
Task<Reply<std::string>> send_signal(const UnaryCall& call);
Task<Reply<std::string>> update_process(const UnaryCall& call);

// filesystem.Filesystem
Task<Reply<std::string>> stat_path(const UnaryCall& call);
Task<Reply<std::string>> make_dir(const UnaryCall& call);
Task<Reply<std::string>> move_path(const UnaryCall& call);
Task<Reply<std::string>> list_dir(const UnaryCall& call);
Task<Reply<std::string>> remove_path(const UnaryCall& call);
Task<> handle_watch_dir(net::Exchange& exchange, Context& context);
Task<Reply<std::string>> create_watcher(const UnaryCall& call);
Task<Reply<std::string>> get_watcher_events(const UnaryCall& call);
Task<Reply<std::string>> remove_watcher(const UnaryCall& call);

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
