#include "proxy/pipe_pool.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace sandbox::proxy {
namespace {

std::size_t page_size() {
    static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return size;
}

}  // namespace

std::optional<Pipe> PipePool::borrow() {
    if (!idle_.empty()) {
        std::optional<Pipe> pipe(std::move(idle_.back()));
        idle_.pop_back();
        return pipe;
    }
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return std::nullopt;
    Pipe pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
    int size = ::fcntl(ends[1], F_GETPIPE_SZ);
    for (std::size_t wanted = bytes_; size > 0 && wanted > static_cast<std::size_t>(size); wanted /= 2) {
        int got = ::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(wanted));
        if (got > 0) size = got;
    }
    pipe.slots = std::max<std::size_t>(1, size > 0 ? static_cast<std::size_t>(size) / page_size() : 1);
    return pipe;
}

void PipePool::give_back(Pipe pipe) {
    if (idle_.size() < max_idle_) idle_.push_back(std::move(pipe));
}

}  // namespace sandbox::proxy
