// The stream of a running command: its output, its end, and its input.

#include <utility>

#include "codec.hpp"
#include "core.hpp"
#include "koyeb/sandbox/async_client.hpp"

namespace koyeb::sandbox {

struct AsyncCommandStream::Impl {
    Impl(AsyncClient opener, HttpExchange stream) : client(std::move(opener)), exchange(std::move(stream)) {}

    AsyncClient client;
    HttpExchange exchange;
    SseParser parser;
    bool ended = false;
    CommandEnd end;
    codec::CommandStart start;  // of a command that takes input

    Awaitable<SseEvent> next_event();
    Awaitable<> read_start();
    Awaitable<> send(SendStdinRequest request);
};

Awaitable<SseEvent> AsyncCommandStream::Impl::next_event() {
    for (;;) {
        if (auto event = parser.next()) co_return std::move(*event);
        const std::string piece = co_await exchange.read_piece();
        if (piece.empty()) throw SandboxServiceError(0, "the stream ended before the command's end was told");
        parser.feed(piece);
    }
}

Awaitable<> AsyncCommandStream::Impl::read_start() {
    const SseEvent event = co_await next_event();
    auto decoded = codec::decode_command_event(event);
    auto* told = std::get_if<codec::CommandStart>(&decoded);
    if (told == nullptr) throw SandboxCommandError("this server passes no input to running commands");
    start = std::move(*told);
}

Awaitable<> AsyncCommandStream::Impl::send(SendStdinRequest request) {
    if (start.id.empty()) throw SandboxError("the command was started without open_stdin");
    request.id = start.id;
    co_await client.send_stdin(std::move(request));
}

AsyncCommandStream::AsyncCommandStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AsyncCommandStream::AsyncCommandStream(AsyncCommandStream&&) noexcept = default;
AsyncCommandStream& AsyncCommandStream::operator=(AsyncCommandStream&&) noexcept = default;
AsyncCommandStream::~AsyncCommandStream() = default;

const CommandEnd& AsyncCommandStream::end() const { return impl_->end; }
const std::string& AsyncCommandStream::id() const { return impl_->start.id; }
std::int64_t AsyncCommandStream::pid() const { return impl_->start.pid; }

Awaitable<std::optional<OutputEvent>> AsyncCommandStream::next() {
    Impl& self = *impl_;
    while (!self.ended) {
        const SseEvent event = co_await self.next_event();
        auto decoded = codec::decode_command_event(event);
        if (auto* output = std::get_if<OutputEvent>(&decoded)) co_return std::move(*output);
        if (auto* end = std::get_if<CommandEnd>(&decoded)) {
            self.end = std::move(*end);
            self.ended = true;
            // To the end of the answer, so that the connection can be used again.
            co_await self.exchange.drain();
        }
    }
    co_return std::nullopt;
}

Awaitable<> AsyncCommandStream::write(std::string data) {
    SendStdinRequest request;
    request.data = std::move(data);
    return impl_->send(std::move(request));
}

Awaitable<> AsyncCommandStream::close_stdin() {
    SendStdinRequest request;
    request.close = true;
    return impl_->send(std::move(request));
}

Awaitable<> AsyncCommandStream::resize(TerminalSize size) {
    SendStdinRequest request;
    request.resize = size;
    return impl_->send(std::move(request));
}

namespace {

Awaitable<AsyncCommandStream> do_run_streaming(AsyncClient client, std::shared_ptr<ClientCore> core,
                                               RunRequest run) {
    const bool with_input = run.open_stdin || run.terminal;
    if (with_input && !co_await client.has_extras())
        throw SandboxCommandError("this server passes no input to running commands");
    HttpRequest request = core->post("/run_streaming", codec::encode(run));
    request.headers.emplace_back("Accept", "text/event-stream");
    request.patience = command_patience(run.timeout);
    HttpExchange exchange = co_await core->open(std::move(request));
    if (exchange.status() != 200) {
        const std::string body = co_await exchange.read_all();
        check_start(exchange.status(), body);
        throw SandboxServiceError(exchange.status(), "unexpected status of a stream");
    }
    auto impl = std::make_unique<AsyncCommandStream::Impl>(client, std::move(exchange));
    if (with_input) co_await impl->read_start();
    co_return AsyncCommandStream(std::move(impl));
}

}  // namespace

Awaitable<AsyncCommandStream> AsyncClient::run_streaming(RunRequest request) {
    return do_run_streaming(*this, core_, std::move(request));
}

}  // namespace koyeb::sandbox
