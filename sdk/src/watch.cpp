// A watched directory: filesystem.Filesystem/WatchDir of the envd API, in the Connect protocol
// (https://connectrpc.com/docs/protocol).

#include <cstdint>
#include <deque>
#include <utility>

#include "codec.hpp"
#include "core.hpp"
#include "transfer.hpp"

namespace koyeb::sandbox {
namespace {

constexpr std::size_t kHeader = 5;  // flags, and the length in network order
constexpr std::size_t kMaxMessage = std::size_t{64} << 20U;
constexpr unsigned char kEndFlag = 2;

std::string envelope(const std::string& message) {
    std::string framed(1, '\0');
    for (unsigned shift = 32; shift > 0; shift -= 8)
        framed += static_cast<char>(message.size() >> (shift - 8) & 0xFFU);
    return framed + message;
}

}  // namespace

struct AsyncWatch::Impl {
    explicit Impl(HttpExchange stream) : exchange(std::move(stream)) {}

    HttpExchange exchange;
    std::string received;
    std::size_t used = 0;  // of `received`
    bool started = false;

    // The next message's payload. Throws the error that ends the stream, or that it has ended.
    Awaitable<std::string> next_message();
    Awaitable<std::optional<FileEvent>> next_change();
};

Awaitable<std::string> AsyncWatch::Impl::next_message() {
    for (;;) {
        const std::string_view rest = std::string_view(received).substr(used);
        std::size_t length = 0;
        for (std::size_t i = 1; i < kHeader && i < rest.size(); ++i)
            length = length << 8U | static_cast<unsigned char>(rest[i]);
        const bool headed = rest.size() >= kHeader;
        if (headed && length > kMaxMessage) throw SandboxServiceError(0, "unexpected answer of the sandbox");
        if (headed && rest.size() >= kHeader + length) {
            const auto flags = static_cast<unsigned char>(rest.front());
            std::string payload(rest.substr(kHeader, length));
            used += kHeader + length;
            if ((flags & kEndFlag) == 0) co_return payload;
            codec::check_connect_end(payload);
            throw SandboxServiceError(0, "the watch has ended");
        }
        received.erase(0, std::exchange(used, 0));
        const std::string piece = co_await exchange.read_piece();
        if (piece.empty()) throw SandboxServiceError(0, "the connection of the watch has ended");
        received += piece;
    }
}

// Nothing: the start, or what is no change.
Awaitable<std::optional<FileEvent>> AsyncWatch::Impl::next_change() {
    const std::string payload = co_await next_message();
    auto decoded = codec::decode_watch_message(payload);
    if (std::holds_alternative<codec::WatchStart>(decoded)) started = true;
    if (auto* event = std::get_if<FileEvent>(&decoded)) co_return std::move(*event);
    co_return std::nullopt;
}

AsyncWatch::AsyncWatch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AsyncWatch::AsyncWatch(AsyncWatch&&) noexcept = default;
AsyncWatch& AsyncWatch::operator=(AsyncWatch&&) noexcept = default;
AsyncWatch::~AsyncWatch() = default;

Awaitable<FileEvent> AsyncWatch::next() {
    while (true) {
        auto event = co_await impl_->next_change();
        if (event) co_return std::move(*event);
    }
}

Awaitable<AsyncWatch> watch(AsyncClient client, std::string path, bool recursive) {
    const std::shared_ptr<ClientCore>& core = client.core();
    const std::string absolute = co_await absolute_path(client, path);
    const std::string message = envelope(codec::encode_watch(absolute, recursive));
    HttpRequest request = core->post("/filesystem.Filesystem/WatchDir", message, "application/connect+json");
    HttpExchange exchange = co_await core->open(std::move(request));
    if (exchange.status() != 200) {
        const std::string body = co_await exchange.read_all();
        check_status(exchange.status(), body);
        throw SandboxServiceError(exchange.status(), "unexpected status of a stream");
    }
    auto impl = std::make_unique<AsyncWatch::Impl>(std::move(exchange));
    while (!impl->started) co_await impl->next_change();
    impl->exchange.set_patience(Patience());  // a quiet directory is no fault
    co_return AsyncWatch(std::move(impl));
}

}  // namespace koyeb::sandbox
