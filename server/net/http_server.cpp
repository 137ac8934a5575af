#include "net/http_server.hpp"

#include <new>

#include "base/log.hpp"
#include "net/http_session.hpp"
#include "platform/acceptor.hpp"
#include "platform/event.hpp"
#include "platform/memory_reserve.hpp"
#include "platform/poller.hpp"

namespace sandbox::net {
namespace {

constexpr std::chrono::milliseconds kTick{1000};
// How long a connection is left to a client that may be about to use it, when there is no room for others.
constexpr std::chrono::milliseconds kSpareSilentAfter{1000};
constexpr std::chrono::milliseconds kSpareIdleAfter{10'000};
constexpr std::size_t kSpareDescriptors = 8;  // so that /health answers when all others are used up

Task<> serve_session(std::shared_ptr<HttpSession> session) { co_await session->run(); }

Task<> accept_loop(std::shared_ptr<HttpServer::Impl> server, UniqueFd listener) {
    auto make_room = [weak = std::weak_ptr(server)] {
        auto alive = weak.lock();
        return alive && alive->make_room();
    };
    auto acceptor = std::make_shared<Acceptor>(server->loop, std::move(listener), "http", kSpareDescriptors,
                                               std::move(make_room));
    server->acceptors.push_back(acceptor);
    for (;;) {
        try {
            UniqueFd socket = co_await acceptor->accept();
            if (!socket) co_return;
            ++server->counters.accepted;
            const bool full = server->counters.active >= server->limits.connections;
            if ((full || memory_reserve::runs_short()) && !server->make_room()) {
                ++server->counters.refused;
                continue;  // Closed at once.
            }
            auto session = std::make_shared<HttpSession>(server, std::move(socket));
            spawn_task(server->loop, "http connection", serve_session(session));
        } catch (const std::bad_alloc&) {
            ++server->counters.refused;  // Closed, too. The next one may find memory.
        }
    }
}

// One clock for all connections: a timer each would cost more than the requests.
Task<> tick_loop(std::shared_ptr<HttpServer::Impl> server) {
    while (!server->stopping) {
        co_await server->stopped.wait_for(kTick);
        auto now = HttpSession::Clock::now();
        for (auto at = server->sessions.begin(); at != server->sessions.end();) (*at++)->tick(now);
    }
}

}  // namespace

bool HttpServer::Impl::make_room() {
    const auto now = HttpSession::Clock::now();
    auto silent_since = now - kSpareSilentAfter;
    auto idle_since = now - kSpareIdleAfter;
    HttpSession* silent = nullptr;
    HttpSession* idle = nullptr;
    for (HttpSession* session : sessions) {
        auto& since = session->has_asked() ? idle_since : silent_since;
        if (session->waiting_since() > since) continue;
        since = session->waiting_since();
        (session->has_asked() ? idle : silent) = session;
    }
    HttpSession* spared = silent != nullptr ? silent : idle;
    if (spared != nullptr) spared->cut();
    return spared != nullptr;
}

HttpServer::HttpServer(Loop& loop, const Router& router, Guard guard, HttpLimits limits)
    : impl_(std::make_shared<Impl>(loop, router, std::move(guard), limits)) {
    Poller::of(loop);  // Its descriptor is made while there are some.
    spawn_task(loop, "http clock", tick_loop(impl_));
}

HttpServer::~HttpServer() { stop(); }

void HttpServer::serve(UniqueFd listener) {
    spawn_task(impl_->loop, "http listener", accept_loop(impl_, std::move(listener)));
}

void HttpServer::allow_any_origin() { impl_->any_origin = true; }

void HttpServer::drain() {
    impl_->draining = true;
    for (HttpSession* session : impl_->sessions) session->close_if_idle();
}

void HttpServer::stop() {
    impl_->stopping = true;
    impl_->stopped.notify();
    for (auto& acceptor : impl_->acceptors) acceptor->stop();
    for (HttpSession* session : impl_->sessions) session->cut();
}

std::size_t HttpServer::running_requests() const { return impl_->running; }
const HttpCounters& HttpServer::counters() const { return impl_->counters; }

}  // namespace sandbox::net
