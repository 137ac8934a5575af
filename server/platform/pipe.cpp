#include "platform/pipe.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

#include "platform/event.hpp"
#include "platform/readiness.hpp"

namespace sandbox {

namespace {

// Between looks at what epoll does not take: beyond fs.epoll.max_user_watches, or out of memory.
constexpr std::chrono::milliseconds kLookEvery{10};

// What both ends are: a descriptor, and its readiness from the first wait on.
struct End {
    End(Loop& l, UniqueFd f) : loop(l), fd(std::move(f)), readiness(l) {
        int on = 1;
        (void)::ioctl(fd.get(), FIONBIO, &on);
    }
    Result<> watch() {
        if (readiness.started()) return {};
        return readiness.start(fd.get());
    }
    void close() {
        readiness.stop();
        fd.reset();
    }

    Loop& loop;
    UniqueFd fd;
    Readiness readiness;
};

}  // namespace

Result<std::pair<UniqueFd, UniqueFd>> make_pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) return sys_error("pipe", errno);
    return std::pair(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

struct ReadEnd::Impl : End {
    using End::End;
};

ReadEnd::ReadEnd(Loop& loop, UniqueFd fd) : impl_(std::make_shared<Impl>(loop, std::move(fd))) {}

ReadEnd::~ReadEnd() { close(); }

long ReadEnd::read_now(std::span<char> out) {
    if (!impl_->fd) return 0;
    for (;;) {
        ssize_t count = ::read(impl_->fd.get(), out.data(), out.size());
        if (count >= 0) return count;
        if (errno == EINTR) continue;
        if (errno == EAGAIN) impl_->readiness.drained();
        return errno == EIO ? 0 : -errno;
    }
}

Task<bool> ReadEnd::readable() {
    auto impl = impl_;
    if (!impl->fd) co_return false;
    if (impl->watch()) co_return co_await impl->readiness.wait_readable();
    co_await sleep_for(impl->loop, kLookEvery);
    co_return static_cast<bool>(impl->fd);
}

std::size_t ReadEnd::pending() const {
    int bytes = 0;
    if (!impl_->fd) return 0;
    return ::ioctl(impl_->fd.get(), FIONREAD, &bytes) == 0 && bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
}

bool ReadEnd::has_writers() const {
    if (!impl_->fd) return false;
    pollfd state{impl_->fd.get(), 0, 0};
    return ::poll(&state, 1, 0) == 0 || (state.revents & POLLHUP) == 0;
}

bool ReadEnd::enlarge(std::size_t bytes) {
    return ::fcntl(impl_->fd.get(), F_SETPIPE_SZ, static_cast<int>(bytes)) >= 0;
}

int ReadEnd::fd() const { return impl_->fd.get(); }

void ReadEnd::close() { impl_->close(); }

struct WriteEnd::Impl : End {
    using End::End;
};

WriteEnd::WriteEnd(Loop& loop, UniqueFd fd) : impl_(std::make_shared<Impl>(loop, std::move(fd))) {}
WriteEnd::~WriteEnd() { close(); }

Task<Result<>> WriteEnd::write_all(std::string_view bytes, const bool* give_up) {
    auto impl = impl_;
    while (!bytes.empty()) {
        if (give_up != nullptr && *give_up) co_return Error{Errc::cancelled, "write given up", ECANCELED};
        if (!impl->fd) co_return sys_error("write", EPIPE);
        ssize_t count = ::write(impl->fd.get(), bytes.data(), bytes.size());
        if (count >= 0) {
            bytes.remove_prefix(static_cast<std::size_t>(count));
            continue;
        }
        if (errno == EINTR) continue;
        if (errno != EAGAIN) co_return sys_error("write", errno);
        if (impl->watch()) {
            co_await impl->readiness.wait_writable();
        } else {
            co_await sleep_for(impl->loop, kLookEvery);
        }
    }
    co_return Result<>();
}

void WriteEnd::interrupt() { impl_->readiness.interrupt_writer(); }

void WriteEnd::close() { impl_->close(); }

bool WriteEnd::is_open() const { return static_cast<bool>(impl_->fd); }

bool WriteEnd::has_reader() const {
    pollfd asked{impl_->fd.get(), 0, 0};
    return is_open() && (::poll(&asked, 1, 0) <= 0 || (asked.revents & POLLERR) == 0);
}

}  // namespace sandbox
