#include "proxy/relay.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

namespace sandbox::proxy {
namespace {

// One splice(2) may fill every slot of a pipe with a large fragment, so more than the pipe's nominal size.
constexpr std::size_t kSpliceBytes = 1024 * 1024;
constexpr std::size_t kCopyBytes = 64 * 1024;
// Two splice(2) for a few bytes cost more than a recv(2) and a send(2).
constexpr std::size_t kSmallBytes = 4096;
// What there is room for when there is no memory (platform/memory_reserve).
constexpr std::size_t kLeastBytes = 512;

bool splice_unsupported(int error) { return error == EINVAL || error == ENOSYS || error == EOPNOTSUPP; }

void close_with_reset(UniqueFd& fd) {
    linger at_once{1, 0};
    if (fd) (void)::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    fd.reset();
}

}  // namespace

void Endpoint::note(std::uint32_t events) {
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) writable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP)) peer_done = true;
    if (events & EPOLLERR) failed = true;
    if ((events & EPOLLPRI) && !urgent) {
        urgent = true;
        // The urgent byte becomes an ordinary one of the stream, instead of being lost.
        int on = 1;
        (void)::setsockopt(fd.get(), SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
    }
}

long Channel::fill_by_copy(Endpoint& source, std::size_t room) {
    memory_.reset(new (std::nothrow) char[room]);
    if (!memory_) {
        room = kLeastBytes;
        memory_.reset(new (std::nothrow) char[room]);
    }
    if (!memory_) return -ENOMEM;
    offset_ = 0;
    ssize_t n = ::recv(source.fd.get(), memory_.get(), room, MSG_DONTWAIT);
    if (n <= 0) {
        int error = errno;
        memory_.reset();
        return n == 0 ? 0 : -error;
    }
    // A short read empties the queue, unless it stopped at the mark of urgent data.
    if (static_cast<std::size_t>(n) < room && !source.peer_done && !source.urgent) source.readable = false;
    small_ = static_cast<std::size_t>(n) < kSmallBytes;
    return n;
}

long Channel::fill(Endpoint& source, PipePool& pool) {
    if (source.urgent) copying_ = true;
    if (!copying_ && small_) return fill_by_copy(source, kSmallBytes);
    if (!copying_) pipe_ = pool.borrow();
    if (!pipe_) return fill_by_copy(source, kCopyBytes);
    ssize_t n = ::splice(source.fd.get(), nullptr, pipe_->in.get(), nullptr, kSpliceBytes,
                         SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n > 0) {
        // Fewer bytes than slots: it was not the pipe that ended it, so the queue is empty, and what comes
        // later makes a new event.
        if (static_cast<std::size_t>(n) < pipe_->slots && !source.peer_done) source.readable = false;
        small_ = static_cast<std::size_t>(n) < kSmallBytes;
        return n;
    }
    int error = errno;
    pool.give_back(std::move(*pipe_));
    pipe_.reset();
    if (n == 0) return 0;
    if (splice_unsupported(error)) {
        copying_ = true;
        return fill_by_copy(source, kCopyBytes);
    }
    return -error;
}

bool Channel::pipe_to_memory() {
    memory_.reset(new (std::nothrow) char[held_]);
    if (!memory_) return false;
    offset_ = 0;
    for (std::size_t have = 0; have < held_;) {
        ssize_t n = ::read(pipe_->out.get(), memory_.get() + have, held_ - have);
        if (n <= 0) return false;
        have += static_cast<std::size_t>(n);
    }
    pipe_.reset();
    copying_ = true;
    return true;
}

long Channel::drain(Endpoint& sink) {
    ssize_t n = pipe_ ? ::splice(pipe_->out.get(), nullptr, sink.fd.get(), nullptr, held_,
                                 SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
                      : ::send(sink.fd.get(), memory_.get() + offset_, held_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) return n;
    return -errno;
}

Channel::Outcome Channel::pump(Endpoint& source, Endpoint& sink, PipePool& pool, std::size_t budget) {
    std::size_t passed = 0;
    for (;;) {
        while (held_ > 0) {
            if (!sink.writable) return Outcome::idle;
            long n = drain(sink);
            if (n > 0) {
                held_ -= static_cast<std::size_t>(n);
                offset_ += static_cast<std::size_t>(n);
                moved_ += static_cast<std::uint64_t>(n);
                passed += static_cast<std::size_t>(n);
            } else if (n == -EAGAIN) {
                sink.writable = false;
            } else if (pipe_ && splice_unsupported(static_cast<int>(-n))) {
                if (!pipe_to_memory()) return Outcome::sink_failed;
            } else if (n != -EINTR) {
                return Outcome::sink_failed;
            }
        }
        if (pipe_) pool.give_back(std::move(*pipe_));
        pipe_.reset();
        memory_.reset();
        if (end_ != End::none) return end_ == End::orderly ? Outcome::finished : Outcome::source_failed;
        if (!source.readable || !sink.writable) return Outcome::idle;
        if (passed >= budget) return Outcome::more;
        long n = fill(source, pool);
        if (n > 0) {
            held_ = static_cast<std::size_t>(n);
        } else if (n == 0) {
            end_ = source.failed ? End::failure : End::orderly;
        } else if (n == -EAGAIN) {
            source.readable = false;
        } else if (n != -EINTR) {
            end_ = End::failure;
        }
    }
}

void Channel::drop() {
    pipe_.reset();
    memory_.reset();
    held_ = 0;
}

bool Relay::advance(const Way& way, std::size_t budget) {
    switch (way.channel.pump(way.source, way.sink, *pool_, budget)) {
        case Channel::Outcome::idle:
            return false;
        case Channel::Outcome::more:
            return true;
        case Channel::Outcome::sink_failed:
            way.sink.failed = true;
            way.sink.readable = true;
            return true;
        case Channel::Outcome::source_failed:
            way.source.failed = true;
            way.done = true;
            return false;
        case Channel::Outcome::finished:
            way.done = true;
            // With both ways done the close says it.
            if (!(up_done_ && down_done_)) (void)::shutdown(way.sink.fd.get(), SHUT_WR);
            return false;
    }
    return false;
}

Relay::State Relay::advance(std::size_t budget) {
    bool more = false;
    if (!up_done_ && !target_.failed) more |= advance(Way{up_, client_, target_, up_done_}, budget);
    if (!down_done_ && !client_.failed) more |= advance(Way{down_, target_, client_, down_done_}, budget);
    // What a failed peer had sent before still reaches the other, which then gets the reset.
    if (target_.failed) {
        up_.drop();
        up_done_ = true;
    }
    if (client_.failed) {
        down_.drop();
        down_done_ = true;
    }
    if (up_done_ && down_done_) return finish(client_.failed || target_.failed);
    return more ? State::more : State::idle;
}

Relay::State Relay::finish(bool reset) {
    reset_ = reset;
    if (reset) {
        close_with_reset(client_.fd);
        close_with_reset(target_.fd);
    } else {
        client_.fd.reset();
        target_.fd.reset();
    }
    return State::ended;
}

void Relay::end() {
    bool client_misses = !down_done_ && (down_.holds_bytes() || target_.readable);
    bool target_misses = !up_done_ && (up_.holds_bytes() || client_.readable);
    up_.drop();
    down_.drop();
    if (client_misses) close_with_reset(client_.fd);
    if (target_misses) close_with_reset(target_.fd);
    client_.fd.reset();
    target_.fd.reset();
}

void Relay::reset_client() {
    reset_ = true;
    close_with_reset(client_.fd);
}

void Relay::copy_always() {
    up_.copy_always();
    down_.copy_always();
}

}  // namespace sandbox::proxy
