#include "platform/readiness.hpp"

#include <sys/epoll.h>

#include <boost/asio/post.hpp>
#include <utility>

namespace sandbox {

namespace asio = boost::asio;
namespace {

// EPOLLHUP and EPOLLERR are always told.
constexpr std::uint32_t kReading = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET;
constexpr std::uint32_t kWriting = kReading | EPOLLOUT;

}  // namespace

Result<> Readiness::start(int fd) {
    Poller& poller = Poller::of(loop_);
    Result<std::uint64_t> key = poller.add(fd, kReading, *this);
    if (!key) return key.error();
    poller_ = &poller;
    fd_ = fd;
    key_ = *key;
    return {};
}

void Readiness::stop() {
    if (!started()) return;
    std::exchange(poller_, nullptr)->remove(key_);
    wake_later(reader_, false);
    wake_later(writer_, false);
}

// Not coroutines: a frame less for each wait.
Task<bool> Readiness::wait_readable() {
    auto initiate = [this](auto handler) {
        reader_.emplace(std::move(handler));
        if (readable_ || !started()) wake_later(reader_, started());
    };
    return asio::async_initiate<const asio::use_awaitable_t<Executor>&, void(bool)>(initiate, use_task);
}

Task<bool> Readiness::wait_writable() {
    auto initiate = [this](auto handler) {
        writer_.emplace(std::move(handler));
        // Room is told only to those who ask: otherwise each new connection would begin with an event.
        if (!started() || !poller_->change(fd_, key_, kWriting)) wake_later(writer_, false);
    };
    return asio::async_initiate<const asio::use_awaitable_t<Executor>&, void(bool)>(initiate, use_task);
}

void Readiness::interrupt_writer() { wake_later(writer_, false); }

void Readiness::wake_later(Waiter& waiter, bool told) {
    if (!waiter) return;
    asio::post(loop_, [woken = take(waiter), told]() mutable { std::move (*woken)(told); });
}

Readiness::Waiter Readiness::take(Waiter& waiter) {
    Waiter taken;
    if (waiter) taken.emplace(std::move(*waiter));
    waiter.reset();
    return taken;
}

void Readiness::ready(std::uint32_t events) {
    constexpr std::uint32_t kBroken = EPOLLHUP | EPOLLERR;
    const bool in = (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | kBroken)) != 0;
    // Not RDHUP: who has said all may still be read to, and it is told again with each wait.
    const bool out = (events & (EPOLLOUT | kBroken)) != 0;
    if ((events & (EPOLLRDHUP | EPOLLPRI | kBroken)) != 0) sticky_ = true;
    if (in) readable_ = true;
    if (in && action_) action_();
    Waiter reader = in ? take(reader_) : std::nullopt;
    Waiter writer = out ? take(writer_) : std::nullopt;
    // Each may destroy this object.
    if (reader) std::move (*reader)(true);
    if (writer) std::move (*writer)(true);
}

void Readiness::abandon() {
    poller_ = nullptr;
    // With them go their coroutines, and perhaps this object.
    const Waiter reader = take(reader_);
    const Waiter writer = take(writer_);
}

}  // namespace sandbox
