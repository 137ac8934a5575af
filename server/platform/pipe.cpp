#include "platform/pipe.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <cerrno>

namespace sandbox {

namespace asio = boost::asio;
using Descriptor = asio::posix::basic_stream_descriptor<Executor>;

namespace {

Descriptor adopt(Loop& loop, UniqueFd fd) {
    Descriptor descriptor(loop);
    boost::system::error_code ec;
    descriptor.assign(fd.get(), ec);
    if (ec) return descriptor;
    fd.release();
    boost::system::error_code ignored;
    descriptor.native_non_blocking(true, ignored);
    return descriptor;
}

}  // namespace

Result<std::pair<UniqueFd, UniqueFd>> make_pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) return sys_error("pipe", errno);
    return std::pair(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

struct ReadEnd::Impl {
    Descriptor waiting;  // on `fd`, from the first wait on
    UniqueFd fd;
};

ReadEnd::ReadEnd(Loop& loop, UniqueFd fd) : impl_(new Impl{Descriptor(loop), std::move(fd)}) {
    int on = 1;
    (void)::ioctl(impl_->fd.get(), FIONBIO, &on);
}

ReadEnd::~ReadEnd() { close(); }

long ReadEnd::read_now(std::span<char> out) {
    if (!impl_->fd) return 0;
    for (;;) {
        ssize_t count = ::read(impl_->fd.get(), out.data(), out.size());
        if (count >= 0) return count;
        if (errno == EINTR) continue;
        return errno == EIO ? 0 : -errno;
    }
}

Task<bool> ReadEnd::readable() {
    auto impl = impl_;
    if (!impl->fd) co_return false;
    boost::system::error_code ec;
    if (!impl->waiting.is_open()) impl->waiting.assign(impl->fd.get(), ec);
    if (ec) co_return false;
    co_await impl->waiting.async_wait(asio::posix::descriptor_base::wait_read,
                                      asio::redirect_error(use_task, ec));
    co_return !ec;
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

int ReadEnd::fd() const { return impl_->fd.get(); }

void ReadEnd::close() {
    if (impl_->waiting.is_open()) impl_->waiting.release();
    impl_->fd.reset();
}

struct WriteEnd::Impl {
    Descriptor descriptor;
};

WriteEnd::WriteEnd(Loop& loop, UniqueFd fd) : impl_(new Impl{adopt(loop, std::move(fd))}) {}
WriteEnd::~WriteEnd() { close(); }

Task<Result<>> WriteEnd::write_all(std::string_view bytes, const bool* give_up) {
    auto impl = impl_;
    while (!bytes.empty()) {
        if (give_up != nullptr && *give_up) co_return Error{Errc::cancelled, "write given up", ECANCELED};
        if (!impl->descriptor.is_open()) co_return sys_error("write", EPIPE);
        ssize_t count = ::write(impl->descriptor.native_handle(), bytes.data(), bytes.size());
        if (count >= 0) {
            bytes.remove_prefix(static_cast<std::size_t>(count));
            continue;
        }
        if (errno == EINTR) continue;
        if (errno != EAGAIN) co_return sys_error("write", errno);
        boost::system::error_code ec;
        co_await impl->descriptor.async_wait(asio::posix::descriptor_base::wait_write,
                                             asio::redirect_error(use_task, ec));
    }
    co_return Result<>();
}

void WriteEnd::interrupt() {
    boost::system::error_code ignored;
    impl_->descriptor.cancel(ignored);
}

void WriteEnd::close() {
    boost::system::error_code ignored;
    impl_->descriptor.close(ignored);
}

bool WriteEnd::is_open() const { return impl_->descriptor.is_open(); }

bool WriteEnd::has_reader() const {
    pollfd asked{impl_->descriptor.native_handle(), 0, 0};
    return is_open() && (::poll(&asked, 1, 0) <= 0 || (asked.revents & POLLERR) == 0);
}

}  // namespace sandbox
