#include "platform/acceptor.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <cerrno>
#include <chrono>
#include <utility>
#include <vector>

#include "base/log.hpp"
#include "platform/event.hpp"
#include "platform/listen.hpp"

namespace sandbox {
namespace {

namespace asio = boost::asio;
using Descriptor = asio::posix::basic_stream_descriptor<Executor>;

constexpr std::chrono::milliseconds kFirstPause{5};
constexpr std::chrono::milliseconds kLongestPause{1000};
constexpr unsigned kAcceptsPerTurn = 16;

// accept(2): errors of the one connection that was about to be accepted, also those of its network, and of a
// firewall.
bool concerns_one_client(int error) {
    switch (error) {
        case EINTR:
        case ECONNABORTED:
        case EPERM:
        case EPROTO:
        case ENOPROTOOPT:
        case ENETDOWN:
        case EHOSTDOWN:
        case ENONET:
        case EHOSTUNREACH:
        case EOPNOTSUPP:
        case ENETUNREACH:
        case ETIMEDOUT:
            return true;
        default:
            return false;
    }
}

bool out_of_descriptors(int error) { return error == EMFILE || error == ENFILE; }

}  // namespace

struct Acceptor::Impl {
    Impl(Loop& l, UniqueFd fd, std::string n, std::size_t s, std::function<bool()> room)
        : loop(l),
          listener(l, fd.get()),
          stop_event(l),
          name(std::move(n)),
          spare_wanted(s),
          make_room(std::move(room)) {
        (void)fd.release();
        spare.reserve(spare_wanted);
        refill_spare();
    }

    void refill_spare() {
        while (spare.size() < spare_wanted) {
            UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
            if (!fd) return;
            spare.push_back(std::move(fd));
        }
    }

    int accept_now() {
        refill_spare();
        for (;;) {
            int fd = ::accept4(listener.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (fd >= 0) return fd;
            int error = errno;
            if (out_of_descriptors(error) && !spare.empty()) {
                spare.pop_back();
            } else if (!concerns_one_client(error)) {
                return -error;
            }
        }
    }

    void episode_begins(int error) {
        ++counters.episodes;
        log::warn("accepting paused", {{"listener", name}, {"error", errno_text(error)}});
    }
    void episode_ends() {
        pause = std::chrono::milliseconds(0);
        log::info("accepting goes on", {{"listener", name}});
    }

    Loop& loop;
    Descriptor listener;
    Event stop_event;
    std::string name;
    std::size_t spare_wanted;
    std::vector<UniqueFd> spare;
    std::function<bool()> make_room;
    std::chrono::milliseconds pause{0};  // of the running episode; 0 outside of one
    unsigned in_a_row = 0;
    bool stopped = false;
    Counters counters;
};

Acceptor::Acceptor(Loop& loop, UniqueFd listener, std::string name, std::size_t spare,
                   std::function<bool()> make_room)
    : impl_(std::make_shared<Impl>(loop, std::move(listener), std::move(name), spare, std::move(make_room))) {
}

Acceptor::~Acceptor() { stop(); }

void Acceptor::stop() {
    if (std::exchange(impl_->stopped, true)) return;
    boost::system::error_code ignored;
    impl_->listener.close(ignored);
    impl_->stop_event.notify();
    impl_->spare.clear();
    impl_->make_room = nullptr;
}

std::uint16_t Acceptor::port() const {
    return impl_->stopped ? std::uint16_t{0} : bound_port(impl_->listener.native_handle());
}

const Acceptor::Counters& Acceptor::counters() const { return impl_->counters; }

Task<UniqueFd> Acceptor::accept() { return next(impl_); }

Task<UniqueFd> Acceptor::next(std::shared_ptr<Impl> impl) {
    boost::system::error_code ignored;
    if (++impl->in_a_row >= kAcceptsPerTurn) {
        impl->in_a_row = 0;
        co_await asio::post(impl->loop.get_executor(), use_task);
    }
    while (!impl->stopped) {
        int fd = impl->accept_now();
        if (fd >= 0) {
            ++impl->counters.accepted;
            if (impl->pause.count() != 0) impl->episode_ends();
            co_return UniqueFd(fd);
        }
        impl->in_a_row = 0;
        if (fd == -EAGAIN) {
            co_await impl->listener.async_wait(Descriptor::wait_read,
                                               asio::redirect_error(use_task, ignored));
            continue;
        }
        if (impl->pause.count() == 0) impl->episode_begins(-fd);
        ++impl->counters.pauses;
        impl->pause = std::clamp(impl->pause * 2, kFirstPause, kLongestPause);
        if (out_of_descriptors(-fd) && impl->make_room && impl->make_room()) impl->pause = kFirstPause;
        co_await impl->stop_event.wait_for(impl->pause);
    }
    co_return UniqueFd();
}

}  // namespace sandbox
