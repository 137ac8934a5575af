#include "koyeb/sandbox/client.hpp"

#include <utility>

#include "streams.hpp"

namespace koyeb::sandbox {

CommandStream::CommandStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CommandStream::CommandStream(CommandStream&&) noexcept = default;
CommandStream& CommandStream::operator=(CommandStream&&) noexcept = default;
CommandStream::~CommandStream() = default;
std::optional<OutputEvent> CommandStream::next() { return impl_->core->run(impl_->stream->next()); }
const CommandEnd& CommandStream::end() const { return impl_->stream->end(); }
void CommandStream::write(std::string data) {
    impl_->send([&data](SendStdinRequest& request) { request.data = std::move(data); });
}
void CommandStream::close_stdin() {
    impl_->send([](SendStdinRequest& request) { request.close = true; });
}
void CommandStream::resize(TerminalSize size) {
    impl_->send([size](SendStdinRequest& request) { request.resize = size; });
}
const std::string& CommandStream::id() const { return impl_->stream->id(); }
std::int64_t CommandStream::pid() const { return impl_->stream->pid(); }

LogStream::LogStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LogStream::LogStream(LogStream&&) noexcept = default;
LogStream& LogStream::operator=(LogStream&&) noexcept = default;
LogStream::~LogStream() = default;
std::optional<LogEvent> LogStream::next() { return impl_->core->run(impl_->stream->next()); }
std::optional<std::int64_t> LogStream::last_id() const { return impl_->stream->last_id(); }

Client::Client(ConnectionInfo info) : core_(std::make_shared<BlockingCore>(std::move(info))) {}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

const ConnectionInfo& Client::info() const { return core_->client().info(); }
Health Client::health() { return core_->run(core_->client().health()); }
RunResponse Client::run(RunRequest request) { return core_->run(core_->client().run(std::move(request))); }
CommandStream Client::run_streaming(RunRequest request) {
    AsyncCommandStream stream = core_->run(core_->client().run_streaming(std::move(request)));
    return CommandStream(std::make_unique<CommandStream::Impl>(core_, std::move(stream)));
}
void Client::write_file(WriteFileRequest request) {
    core_->run(core_->client().write_file(std::move(request)));
}
FileInfo Client::read_file(ReadFileRequest request) {
    return core_->run(core_->client().read_file(std::move(request)));
}
void Client::delete_file(std::string path) { core_->run(core_->client().delete_file(std::move(path))); }
void Client::make_dir(std::string path) { core_->run(core_->client().make_dir(std::move(path))); }
void Client::delete_dir(std::string path) { core_->run(core_->client().delete_dir(std::move(path))); }
std::vector<std::string> Client::list_dir(std::string path) {
    return core_->run(core_->client().list_dir(std::move(path)));
}
FileStat Client::stat(std::string path, bool follow) {
    return core_->run(core_->client().stat(std::move(path), follow));
}
void Client::move(MoveRequest request) { core_->run(core_->client().move(std::move(request))); }
void Client::copy(MoveRequest request) { core_->run(core_->client().copy(std::move(request))); }
BindPortResponse Client::bind_port(int port) { return core_->run(core_->client().bind_port(port)); }
void Client::unbind_port(std::optional<int> port) { core_->run(core_->client().unbind_port(port)); }
StartProcessResponse Client::start_process(StartProcessRequest request) {
    return core_->run(core_->client().start_process(std::move(request)));
}
std::vector<ProcessInfo> Client::list_processes() { return core_->run(core_->client().list_processes()); }
ProcessDetails Client::get_process(std::string id) {
    return core_->run(core_->client().get_process(std::move(id)));
}
void Client::kill_process(std::string id) { core_->run(core_->client().kill_process(std::move(id))); }
void Client::signal_process(SignalRequest request) {
    core_->run(core_->client().signal_process(std::move(request)));
}
void Client::send_stdin(SendStdinRequest request) {
    core_->run(core_->client().send_stdin(std::move(request)));
}
LogStream Client::process_logs(LogsRequest request) {
    return LogStream(
        std::make_unique<LogStream::Impl>(core_, core_->client().process_logs(std::move(request))));
}
std::string Client::metrics() { return core_->run(core_->client().metrics()); }

}  // namespace koyeb::sandbox
