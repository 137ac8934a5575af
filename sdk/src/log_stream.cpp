// Process logs: the stream that goes on where a broken one stopped.

#include <algorithm>
#include <utility>

#include "codec.hpp"
#include "core.hpp"
#include "koyeb/sandbox/async_client.hpp"

namespace koyeb::sandbox {
namespace {

constexpr int kMaxAttempts = 8;  // without an event in between
constexpr Seconds kFirstWait{0.1};
constexpr Seconds kLongestWait{2};

}  // namespace

struct AsyncLogStream::Impl {
    Impl(std::shared_ptr<ClientCore> client, LogsRequest logs)
        : core(std::move(client)), request(std::move(logs)) {}

    std::shared_ptr<ClientCore> core;
    LogsRequest request;
    std::optional<HttpExchange> exchange;
    SseParser parser;
    std::optional<std::int64_t> last;
    bool without_ids = false;  // an event came that had none
    bool ended = false;
    int attempts = 0;

    Awaitable<> connect();
    Awaitable<> reconnect(std::string why);
    Awaitable<bool> read();
};

Awaitable<> AsyncLogStream::Impl::connect() {
    std::string target = "/process_logs_streaming?id=" + percent_encode(request.id);
    if (!request.follow) target += "&follow=false";
    if (!last && request.from) target += "&from=" + std::to_string(*request.from);
    HttpRequest http = core->get(std::move(target));
    http.headers.emplace_back("Accept", "text/event-stream");
    if (last) http.headers.emplace_back("Last-Event-ID", std::to_string(*last));
    HttpExchange opened = co_await core->open(std::move(http));
    if (opened.status() != 200) {
        const std::string body = co_await opened.read_all();
        check_status(opened.status(), body);
        throw SandboxServiceError(opened.status(), "unexpected status of a stream");
    }
    opened.set_patience(Patience());  // a quiet process is no fault
    exchange.emplace(std::move(opened));
    parser = SseParser();
}

Awaitable<> AsyncLogStream::Impl::reconnect(std::string why) {
    exchange.reset();
    if (without_ids) throw SandboxServiceError(0, why + "; this server has no event ids to go on from");
    for (Seconds wait = kFirstWait;; wait = std::min(wait * 2, kLongestWait)) {
        if (++attempts > kMaxAttempts) throw SandboxServiceError(0, why);
        if (attempts > 1) co_await Transport::pause(wait);
        try {
            co_await connect();
            co_return;
        } catch (const SandboxServiceError& error) {
            // An answer is an answer; only what concerns the connection is tried again.
            if (error.status_code() != 0) throw;
            why = error.what();
        } catch (const SandboxTimeoutError& error) {
            why = error.what();
        }
    }
}

// Feeds the parser. False when the connection broke.
Awaitable<bool> AsyncLogStream::Impl::read() {
    const std::string piece = co_await exchange->read_piece();
    if (piece.empty()) co_return false;
    parser.feed(piece);
    co_return true;
}

AsyncLogStream::AsyncLogStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AsyncLogStream::AsyncLogStream(AsyncLogStream&&) noexcept = default;
AsyncLogStream& AsyncLogStream::operator=(AsyncLogStream&&) noexcept = default;
AsyncLogStream::~AsyncLogStream() = default;

std::optional<std::int64_t> AsyncLogStream::last_id() const { return impl_->last; }

Awaitable<std::optional<LogEvent>> AsyncLogStream::next() {
    Impl& self = *impl_;
    while (!self.ended) {
        if (!self.exchange) co_await self.connect();
        while (auto event = self.parser.next()) {
            auto decoded = codec::decode_log_event(*event);
            if (std::holds_alternative<codec::LogComplete>(decoded)) {
                self.ended = true;
                co_await self.exchange->drain();
                co_return std::nullopt;
            }
            auto* log = std::get_if<LogEvent>(&decoded);
            if (log == nullptr) continue;
            self.attempts = 0;
            if (log->gap) co_return std::move(*log);
            if (!log->id) self.without_ids = true;
            if (log->id && self.last && *log->id <= *self.last) continue;  // seen before the break
            if (log->id) self.last = log->id;
            co_return std::move(*log);
        }
        std::string broken;
        try {
            if (!co_await self.read()) broken = "the log stream ended before the process's end was told";
        } catch (const SandboxServiceError& error) {
            broken = error.what();
        }
        if (!broken.empty()) co_await self.reconnect(std::move(broken));
    }
    co_return std::nullopt;
}

AsyncLogStream AsyncClient::process_logs(LogsRequest request) {
    return AsyncLogStream(std::make_unique<AsyncLogStream::Impl>(core_, std::move(request)));
}

}  // namespace koyeb::sandbox
