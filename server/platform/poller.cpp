#include "platform/poller.hpp"

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/log.hpp"
#include "base/unique_fd.hpp"

namespace sandbox {

namespace asio = boost::asio;
namespace {

int make_epoll() {
    const int fd = ::epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
    return fd;
}

}  // namespace

asio::execution_context::id Poller::id;

Poller& Poller::of(Loop& loop) { return asio::use_service<Poller>(loop); }

Poller::Poller(Loop& loop) : service(loop), poll_(loop, make_epoll()) {}

Result<std::uint64_t> Poller::add(int fd, std::uint32_t events, Watcher& watcher) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = ++last_key_;
    try {
        watchers_.emplace(last_key_, &watcher);
    } catch (const std::bad_alloc&) {
        return sys_error("epoll", ENOMEM);
    }
    if (::epoll_ctl(poll_.native_handle(), EPOLL_CTL_ADD, fd, &event) != 0) {
        const int error = errno;
        watchers_.erase(last_key_);
        return sys_error("epoll", error);
    }
    if (!waiting_) wait();
    return last_key_;
}

Result<> Poller::change(int fd, std::uint64_t watch, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = watch;
    if (::epoll_ctl(poll_.native_handle(), EPOLL_CTL_MOD, fd, &event) != 0) return sys_error("epoll", errno);
    return {};
}

void Poller::remove(std::uint64_t watch) {
    if (watchers_.erase(watch) == 0) return;
    // A loop that has nothing else to wait for may end.
    boost::system::error_code ignored;
    if (watchers_.empty()) poll_.cancel(ignored);
}

void Poller::wait() {
    waiting_ = true;
    poll_.async_wait(asio::posix::descriptor_base::wait_read, [this](boost::system::error_code ec) {
        waiting_ = false;
        if (!ec) {
            turn();
        } else if (!watchers_.empty()) {
            wait();
        }
    });
}

void Poller::turn() {
    std::array<epoll_event, 128> events;
    const int count = ::epoll_wait(poll_.native_handle(), events.data(), static_cast<int>(events.size()), 0);
    if (!watchers_.empty()) wait();
    for (int i = 0; i < count; ++i) {
        const epoll_event event = events[static_cast<std::size_t>(i)];
        const std::uint64_t watch = event.data.u64;  // not by reference: the event is packed
        auto found = watchers_.find(watch);
        if (found == watchers_.end()) continue;
        try {
            found->second->ready(event.events);
        } catch (const std::exception& error) {  // The others have events, too, and each is told once.
            log::error("event lost", {{"error", error.what()}});
        }
    }
    for (const auto& action : std::exchange(after_turn_, {})) action();
}

void Poller::shutdown() {
    while (!watchers_.empty()) {
        Watcher* watcher = watchers_.begin()->second;
        watchers_.erase(watchers_.begin());
        watcher->abandon();
    }
    boost::system::error_code ignored;
    poll_.close(ignored);
}

}  // namespace sandbox
