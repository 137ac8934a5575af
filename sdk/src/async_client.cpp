#include "koyeb/sandbox/async_client.hpp"

#include <utility>

#include "codec.hpp"
#include "core.hpp"

namespace koyeb::sandbox {
namespace {

using Core = std::shared_ptr<ClientCore>;

Awaitable<std::string> call_ok(Core core, HttpRequest request) {
    Answer answer = co_await core->call(std::move(request));
    check_status(answer.status, answer.body);
    co_return std::move(answer.body);
}

Awaitable<> call_file(Core core, std::string target, std::string json) {
    HttpRequest request = core->post(std::move(target), std::move(json));
    const std::string body = co_await call_ok(core, std::move(request));
    codec::check_file_answer(body);
}

Awaitable<> call_process(Core core, std::string target, std::string json, Patience patience) {
    HttpRequest request = core->post(std::move(target), std::move(json));
    request.patience = patience;
    const std::string body = co_await call_ok(core, std::move(request));
    codec::check_success(body);
}

Awaitable<Health> do_health(Core core) {
    HttpRequest request = core->get("/health");
    // Not through retries: "draining" is what was asked for.
    HttpExchange exchange = co_await core->send_once(std::move(request));
    const int status = exchange.status();
    const std::string body = co_await exchange.read_all();
    if (status != 200 && status != 503) check_status(status, body);
    if (status == 503 && body.find("\"status\"") == std::string::npos) check_status(status, body);
    co_return codec::decode_health(body);
}

Awaitable<RunResponse> do_run(Core core, RunRequest run) {
    HttpRequest request = core->post("/run", codec::encode(run));
    request.patience = command_patience(run.timeout);
    const Answer answer = co_await core->call(std::move(request));
    check_start(answer.status, answer.body);
    co_return codec::decode_run(answer.body, run.encoding == Encoding::base64);
}

Awaitable<FileInfo> do_read_file(Core core, ReadFileRequest read) {
    HttpRequest request = core->post("/read_file", codec::encode(read));
    request.repeatable = true;
    const std::string body = co_await call_ok(core, std::move(request));
    co_return codec::decode_read_file(body, read.encoding);
}

Awaitable<std::vector<std::string>> do_list_dir(Core core, std::string path) {
    HttpRequest request = core->post("/list_dir", codec::encode_path(path));
    request.repeatable = true;
    const std::string body = co_await call_ok(core, std::move(request));
    co_return codec::decode_list_dir(body);
}

Awaitable<FileStat> do_stat(Core core, std::string path, bool follow) {
    HttpRequest request = core->post("/stat", codec::encode_stat(path, follow));
    request.repeatable = true;
    const std::string body = co_await call_ok(core, std::move(request));
    co_return codec::decode_stat(body);
}

Awaitable<bool> do_has_extras(Core core) {
    if (!core->extras) {
        HttpRequest request = core->post("/stat", codec::encode_path("/"));
        request.repeatable = true;
        const Answer answer = co_await core->call(std::move(request));
        if (answer.status != 404) check_status(answer.status, answer.body);
        core->extras = answer.status != 404;
    }
    co_return *core->extras;
}

Awaitable<BindPortResponse> do_bind_port(Core core, int port) {
    HttpRequest request = core->post("/bind_port", codec::encode_port(port));
    const std::string body = co_await call_ok(core, std::move(request));
    co_return codec::decode_bind_port(body, port);
}

Awaitable<StartProcessResponse> do_start_process(Core core, StartProcessRequest start) {
    HttpRequest request = core->post("/start_process", codec::encode(start));
    const Answer answer = co_await core->call(std::move(request));
    check_start(answer.status, answer.body);
    co_return codec::decode_start_process(answer.body);
}

Awaitable<std::vector<ProcessInfo>> do_list_processes(Core core) {
    HttpRequest request = core->get("/list_processes");
    const std::string body = co_await call_ok(core, std::move(request));
    co_return codec::decode_processes(body);
}

Awaitable<ProcessDetails> do_get_process(Core core, std::string id) {
    HttpRequest request = core->get("/get_process?id=" + percent_encode(id));
    const std::string body = co_await call_ok(core, std::move(request));
    co_return codec::decode_process(body);
}

Awaitable<std::string> do_metrics(Core core) {
    HttpRequest request = core->get("/metrics");
    co_return co_await call_ok(core, std::move(request));
}

}  // namespace

AsyncClient::AsyncClient(boost::asio::any_io_executor executor, ConnectionInfo info)
    : core_(std::make_shared<ClientCore>(std::move(executor), std::move(info))) {}
AsyncClient::~AsyncClient() = default;
AsyncClient::AsyncClient(const AsyncClient&) = default;
AsyncClient& AsyncClient::operator=(const AsyncClient&) = default;
AsyncClient::AsyncClient(AsyncClient&&) noexcept = default;
AsyncClient& AsyncClient::operator=(AsyncClient&&) noexcept = default;

const ConnectionInfo& AsyncClient::info() const { return core_->info(); }
boost::asio::any_io_executor AsyncClient::executor() const { return core_->executor(); }

// By value throughout: a caller need not know which of these keep what they are given.
// NOLINTBEGIN(performance-unnecessary-value-param)
Awaitable<Health> AsyncClient::health() { return do_health(core_); }
Awaitable<RunResponse> AsyncClient::run(RunRequest request) { return do_run(core_, std::move(request)); }
Awaitable<> AsyncClient::write_file(WriteFileRequest request) {
    return call_file(core_, "/write_file", codec::encode(request));
}
Awaitable<FileInfo> AsyncClient::read_file(ReadFileRequest request) {
    return do_read_file(core_, std::move(request));
}
Awaitable<> AsyncClient::delete_file(std::string path) {
    return call_file(core_, "/delete_file", codec::encode_path(path));
}
Awaitable<> AsyncClient::make_dir(std::string path) {
    return call_file(core_, "/make_dir", codec::encode_path(path));
}
Awaitable<> AsyncClient::delete_dir(std::string path) {
    return call_file(core_, "/delete_dir", codec::encode_path(path));
}
Awaitable<std::vector<std::string>> AsyncClient::list_dir(std::string path) {
    return do_list_dir(core_, std::move(path));
}
Awaitable<FileStat> AsyncClient::stat(std::string path, bool follow) {
    return do_stat(core_, std::move(path), follow);
}
Awaitable<> AsyncClient::move(MoveRequest request) {
    return call_file(core_, "/move", codec::encode(request));
}
Awaitable<> AsyncClient::copy(MoveRequest request) {
    return call_file(core_, "/copy", codec::encode(request));
}
Awaitable<BindPortResponse> AsyncClient::bind_port(int port) { return do_bind_port(core_, port); }
Awaitable<> AsyncClient::unbind_port(std::optional<int> port) {
    return call_process(core_, "/unbind_port", codec::encode_port(port), core_->patience());
}
Awaitable<StartProcessResponse> AsyncClient::start_process(StartProcessRequest request) {
    return do_start_process(core_, std::move(request));
}
Awaitable<std::vector<ProcessInfo>> AsyncClient::list_processes() { return do_list_processes(core_); }
Awaitable<ProcessDetails> AsyncClient::get_process(std::string id) {
    return do_get_process(core_, std::move(id));
}
Awaitable<> AsyncClient::kill_process(std::string id) {
    return call_process(core_, "/kill_process", codec::encode_id(id), core_->patience());
}
Awaitable<> AsyncClient::signal_process(SignalRequest request) {
    return call_process(core_, "/signal_process", codec::encode(request), core_->patience());
}
Awaitable<> AsyncClient::send_stdin(SendStdinRequest request) {
    // As long as the process takes to read: no limit of silence.
    return call_process(core_, "/send_stdin", codec::encode(request), Patience());
}
Awaitable<std::string> AsyncClient::metrics() { return do_metrics(core_); }
Awaitable<bool> AsyncClient::has_extras() { return do_has_extras(core_); }
// NOLINTEND(performance-unnecessary-value-param)

}  // namespace koyeb::sandbox
