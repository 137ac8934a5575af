#include "platform/spool.hpp"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>
#include <optional>

#include "platform/event.hpp"
#include "platform/spill_dir_impl.hpp"

namespace sandbox {
namespace {

// Each piece costs two wake-ups of a thread, which is a tenth of the time of a large upload with the small
// size; and each spool has two pieces, which with the large size is too much for many at once. So a few may
// have large ones, once they have shown that there is much to write.
constexpr std::size_t kPiece = 256U * 1024;
constexpr std::size_t kLargePiece = 1024U * 1024;
constexpr std::uint64_t kMuch = 2 * kLargePiece;

// A buffer on its way to the file: filled at the back, written from the front.
struct Piece {
    std::size_t capacity = kPiece;
    std::unique_ptr<char[]> data;
    std::size_t begin = 0;
    std::size_t end = 0;

    std::size_t size() const { return end - begin; }
    bool full() const { return end == capacity; }
    std::span<char> room() {
        if (!data) data = std::make_unique_for_overwrite<char[]>(capacity);
        return {data.get() + end, capacity - end};
    }
    std::size_t take(std::string_view bytes) {
        const std::span<char> free = room();
        std::size_t count = std::min(bytes.size(), free.size());
        if (bytes.data() != free.data()) std::memcpy(free.data(), bytes.data(), count);
        end += count;
        return count;
    }
};

struct Written {
    std::size_t bytes = 0;
    std::optional<Error> error;
};

Error write_error(int sys_errno) {
    Error error = sys_error("write temporary file", sys_errno);
    if (sys_errno == EFBIG) error.code = Errc::resource_exhausted;  // RLIMIT_FSIZE
    return error;
}

}  // namespace

// The content is memory_, the file's bytes, flying_ and tail_, in this order. The loop thread changes it
// under the mutex, which is there for read_blocking alone; the pool thread that writes flying_ leaves it as
// it is.
struct Spool::Impl {
    Impl(BlockingPool& p, std::shared_ptr<SpillDir::Impl> d, std::size_t limit)
        : pool(p), dir(std::move(d)), memory_limit(limit) {}
    ~Impl() {
        if (reserved > 0) dir->release_memory(reserved);
        if (large) dir->release_large_pieces();
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    bool spilled() const { return file_size + flying.size() + tail.size() > 0; }
    // How much of `bytes` there was room for.
    std::size_t take(std::string_view bytes);
    // Hands tail to the writer.
    static void start_writing(Loop& loop, const std::shared_ptr<Impl>& impl);
    static Task<> write_out(std::shared_ptr<Impl> impl);
    Written write_flying();
    Result<> write_memory() const;

    std::uint64_t size() const { return memory.size() + file_size + flying.size() + tail.size(); }
    // Bytes in the file from `offset` of the content on; 0 when it lies elsewhere.
    std::uint64_t in_file(std::uint64_t offset) const;
    std::size_t copy(std::uint64_t offset, std::span<char> out) const;
    Result<std::size_t> read_file(std::uint64_t offset, std::span<char> out) const;

    BlockingPool& pool;
    const std::shared_ptr<SpillDir::Impl> dir;
    const std::size_t memory_limit;

    mutable std::mutex mutex;
    std::string memory;
    std::uint64_t file_size = 0;
    Piece flying;
    Piece tail;

    bool large = false;  // pieces
    bool writing = false;
    std::optional<Error> error;
    std::optional<Event> written;
    // The writer's own; others read the descriptor once file_size says that there is something. A byte lies
    // at its place in the content; where memory's bytes would lie is a hole until complete_file().
    SpillFile file;
    bool file_complete = false;
    std::size_t reserved = 0;
};

std::size_t Spool::Impl::take(std::string_view bytes) {
    std::lock_guard lock(mutex);
    std::size_t taken = 0;
    if (memory.size() < memory_limit && !spilled()) {
        taken = std::min(bytes.size(), memory_limit - memory.size());
        // Doubling steps that end exactly at the limit.
        if (memory.size() + taken > memory.capacity()) {
            std::size_t capacity = memory_limit;
            while (capacity / 2 >= memory.size() + taken) capacity /= 2;
            memory.reserve(capacity);
        }
        memory.append(bytes.substr(0, taken));
        bytes.remove_prefix(taken);
    }
    if (!bytes.empty()) taken += tail.take(bytes);
    return taken;
}

void Spool::Impl::start_writing(Loop& loop, const std::shared_ptr<Impl>& impl) {
    {
        std::lock_guard lock(impl->mutex);
        std::swap(impl->flying, impl->tail);
        impl->tail.begin = impl->tail.end = 0;
        if (!impl->large && impl->file_size >= kMuch && !impl->file.in_memory)
            impl->large = impl->dir->reserve_large_pieces();
        if (impl->large && impl->tail.capacity < kLargePiece) {
            impl->tail.data.reset();
            impl->tail.capacity = kLargePiece;
        }
    }
    if (!impl->written) impl->written.emplace(loop);
    impl->writing = true;
    spawn_task(loop, "spool", write_out(impl));
}

Task<> Spool::Impl::write_out(std::shared_ptr<Impl> impl) {
    auto job = [raw = impl.get()] { return raw->write_flying(); };
    Written result;
    try {
        result = co_await impl->pool.run_on(impl->dir->paths(), job);
    } catch (const std::bad_alloc&) {  // Whoever appends waits for this.
        result.error = write_error(ENOMEM);
    }
    {
        std::lock_guard lock(impl->mutex);
        impl->file_size += result.bytes;
        impl->flying.begin += result.bytes;
        impl->error = std::move(result.error);
    }
    impl->writing = false;
    impl->written->notify();
}

Written Spool::Impl::write_flying() {
    Written result;
    if (!file.fd) {
        auto opened = dir->open_file();
        if (!opened) {
            result.error = opened.error();
            return result;
        }
        file = std::move(*opened);
    }
    if (file.in_memory) {
        if (!dir->reserve_memory(flying.size())) {
            result.error = write_error(ENOSPC);
            return result;
        }
        reserved += flying.size();
    }
    while (result.bytes < flying.size()) {
        ssize_t count = ::pwrite(file.fd.get(), flying.data.get() + flying.begin + result.bytes,
                                 flying.size() - result.bytes,
                                 static_cast<off_t>(memory.size() + file_size + result.bytes));
        if (count > 0) {
            result.bytes += static_cast<std::size_t>(count);
        } else if (count == 0 || errno != EINTR) {
            result.error = write_error(count == 0 ? ENOSPC : errno);
            break;
        }
    }
    return result;
}

Result<> Spool::Impl::write_memory() const {
    for (std::size_t done = 0; done < memory.size();) {
        ssize_t count =
            ::pwrite(file.fd.get(), memory.data() + done, memory.size() - done, static_cast<off_t>(done));
        if (count > 0) {
            done += static_cast<std::size_t>(count);
        } else if (count == 0 || errno != EINTR) {
            return write_error(count == 0 ? ENOSPC : errno);
        }
    }
    return Result<>();
}

std::uint64_t Spool::Impl::in_file(std::uint64_t offset) const {
    if (offset < memory.size() || offset >= memory.size() + file_size) return 0;
    return memory.size() + file_size - offset;
}

std::size_t Spool::Impl::copy(std::uint64_t offset, std::span<char> out) const {
    std::string_view from;
    if (offset < memory.size()) {
        from = memory;
    } else {
        offset -= memory.size() + file_size;
        from = {flying.data.get() + flying.begin, flying.size()};
        if (offset >= from.size()) {
            offset -= from.size();
            from = {tail.data.get() + tail.begin, tail.size()};
        }
        if (offset >= from.size()) return 0;
    }
    from.remove_prefix(static_cast<std::size_t>(offset));
    return from.copy(out.data(), out.size());
}

Result<std::size_t> Spool::Impl::read_file(std::uint64_t offset, std::span<char> out) const {
    std::size_t done = 0;
    while (done < out.size()) {
        ssize_t count =
            ::pread(file.fd.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
        if (count > 0) {
            done += static_cast<std::size_t>(count);
        } else if (count == 0 || errno != EINTR) {
            return sys_error("read temporary file", count == 0 ? EIO : errno);
        }
    }
    return done;
}

Spool::Spool(BlockingPool& pool, SpillDir& dir, std::size_t memory_limit)
    : impl_(std::make_shared<Impl>(pool, dir.impl_, memory_limit)) {}
Spool::~Spool() = default;
Spool::Spool(Spool&&) noexcept = default;
Spool& Spool::operator=(Spool&&) noexcept = default;

Task<Result<>> Spool::append(std::string_view bytes) {
    auto impl = impl_;
    auto executor = co_await boost::asio::this_coro::executor;
    Loop& loop = executor.context();
    for (;;) {
        if (impl->error) co_return *impl->error;
        bytes.remove_prefix(impl->take(bytes));
        if (impl->tail.full() && !impl->writing) {
            Impl::start_writing(loop, impl);
            continue;
        }
        if (bytes.empty()) co_return Result<>();
        while (impl->writing) co_await impl->written->wait();
    }
}

Task<std::span<char>> Spool::room() {
    auto impl = impl_;
    auto executor = co_await boost::asio::this_coro::executor;
    Loop& loop = executor.context();
    while (impl->tail.full() && !impl->error) {
        if (!impl->writing) Impl::start_writing(loop, impl);
        if (impl->tail.full()) co_await impl->written->wait();
    }
    if (impl->error || !impl->spilled()) co_return std::span<char>();
    std::lock_guard lock(impl->mutex);
    co_return impl->tail.room();
}

Task<Result<>> Spool::complete_file() {
    auto impl = impl_;
    auto executor = co_await boost::asio::this_coro::executor;
    while (!impl->error && impl->flying.size() + impl->tail.size() > 0) {
        if (!impl->writing) Impl::start_writing(executor.context(), impl);
        while (impl->writing) co_await impl->written->wait();
    }
    if (impl->error) co_return *impl->error;
    if (impl->file_size == 0 || impl->file.in_memory || impl->file_complete) co_return Result<>();
    auto job = [raw = impl.get()] { return raw->write_memory(); };
    Result<> written = co_await impl->pool.run_on(impl->dir->paths(), job);
    impl->file_complete = written.has_value();
    co_return Result<>();
}

int Spool::file() const { return impl_->file_complete ? impl_->file.fd.get() : -1; }

std::uint64_t Spool::size() const { return impl_->size(); }
bool Spool::in_memory() const { return impl_->size() == impl_->memory.size(); }
std::string_view Spool::memory() const { return impl_->memory; }

Task<Result<std::size_t>> Spool::read(std::uint64_t offset, std::span<char> out) {
    auto impl = impl_;
    std::size_t done = 0;
    while (done < out.size()) {
        std::uint64_t at = offset + done;
        std::span<char> rest = out.subspan(done);
        std::uint64_t in_file = impl->in_file(at);
        if (in_file == 0) {
            std::size_t count = impl->copy(at, rest);
            if (count == 0) break;
            done += count;
            continue;
        }
        rest = rest.first(static_cast<std::size_t>(std::min<std::uint64_t>(rest.size(), in_file)));
        auto job = [raw = impl.get(), at, rest] { return raw->read_file(at, rest); };
        Result<std::size_t> count = co_await impl->pool.run_on(impl->dir->paths(), job);
        if (!count) co_return count.error();
        done += *count;
    }
    co_return done;
}

Result<std::size_t> Spool::read_blocking(std::uint64_t offset, std::span<char> out) const {
    std::size_t done = 0;
    while (done < out.size()) {
        std::uint64_t at = offset + done;
        std::span<char> rest = out.subspan(done);
        std::unique_lock lock(impl_->mutex);
        std::uint64_t in_file = impl_->in_file(at);
        if (in_file == 0) {
            std::size_t count = impl_->copy(at, rest);
            if (count == 0) break;
            done += count;
            continue;
        }
        lock.unlock();
        rest = rest.first(static_cast<std::size_t>(std::min<std::uint64_t>(rest.size(), in_file)));
        Result<std::size_t> count = impl_->read_file(at, rest);
        if (!count) return count;
        done += *count;
    }
    return done;
}

}  // namespace sandbox
