#include "platform/block_file.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <utility>

namespace sandbox {
namespace {

using Clock = std::chrono::steady_clock;

// Calls `io(offset in the file, position in the data, size)` for every run of neighbouring blocks until one
// fails.
template <class Io>
Result<> for_runs(const std::vector<std::uint32_t>& numbers, std::size_t block, std::size_t size, Io io) {
    std::size_t done = 0;
    for (std::size_t i = 0; i < numbers.size() && done < size;) {
        std::size_t run = 1;
        while (i + run < numbers.size() && numbers[i + run] == numbers[i] + run) ++run;
        std::size_t count = std::min(run * block, size - done);
        if (Result<> result = io(std::uint64_t{numbers[i]} * block, done, count); !result) return result;
        done += count;
        i += run;
    }
    return {};
}

Result<> write_at(int fd, std::string_view bytes, std::uint64_t offset) {
    while (!bytes.empty()) {
        ssize_t count = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (count > 0) {
            bytes.remove_prefix(static_cast<std::size_t>(count));
            offset += static_cast<std::uint64_t>(count);
        } else if (count == 0 || errno != EINTR) {
            return sys_error("write log file", count == 0 ? ENOSPC : errno);
        }
    }
    return {};
}

Result<> read_at(int fd, std::span<char> out, std::uint64_t offset) {
    while (!out.empty()) {
        ssize_t count = ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
        if (count > 0) {
            out = out.subspan(static_cast<std::size_t>(count));
            offset += static_cast<std::uint64_t>(count);
        } else if (count == 0 || errno != EINTR) {
            return sys_error("read log file", count == 0 ? EIO : errno);
        }
    }
    return {};
}

Result<> punch(int fd, std::uint64_t offset, std::size_t size) {
    if (::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                    static_cast<off_t>(size)) != 0) {
        return sys_error("punch log file", errno);
    }
    return {};
}

}  // namespace

struct BlockFile::State : std::enable_shared_from_this<State> {
    State(Loop& l, BlockingPool& p, SpillDir& d, Options o) : loop(l), pool(p), dir(d), options(o) {}

    bool may_grow() const { return Clock::now() >= grows_again; }
    void give_back(const std::vector<std::uint32_t>& numbers, std::size_t backed) noexcept;
    void note_free(const std::vector<std::uint32_t>& numbers, std::size_t backed);
    // Starts to punch out what is free when it is too much.
    void trim();
    static Task<> punch_out(std::shared_ptr<State> state);
    Result<> write_pieces(const std::vector<Piece>& pieces);

    Loop& loop;
    BlockingPool& pool;
    SpillDir& dir;
    const Options options;

    UniqueFd fd;  // set by the first write, which nothing else of the file can overtake
    // Both are stacks with their lowest numbers on top where that is cheap, so that runs stay together.
    std::vector<std::uint32_t> reusable;  // free, with space on the disk
    std::vector<std::uint32_t> holes;     // free, without
    std::uint32_t end = 0;                // blocks from here on have never been used
    std::size_t used = 0;
    Clock::time_point grows_again{};
    bool trimming = false;
    bool can_punch = true;
};

void BlockFile::State::give_back(const std::vector<std::uint32_t>& numbers, std::size_t backed) noexcept {
    used -= numbers.size();
    try {
        note_free(numbers, backed);
        trim();
    } catch (const std::bad_alloc&) {  // Then they stay unused.
    }
}

void BlockFile::State::note_free(const std::vector<std::uint32_t>& numbers, std::size_t backed) {
    auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(backed);
    reusable.insert(reusable.end(), std::make_reverse_iterator(middle), numbers.rend());
    holes.insert(holes.end(), numbers.rbegin(), std::make_reverse_iterator(middle));
}

void BlockFile::State::trim() {
    std::size_t keep = std::max(used, options.keep_free / options.block_size);
    // With the disk full, space that is ours is worth more than its being free.
    if (trimming || !can_punch || reusable.size() <= keep || !may_grow()) return;
    trimming = true;
    spawn_task(loop, "log file trim", punch_out(shared_from_this()));
}

Task<> BlockFile::State::punch_out(std::shared_ptr<State> state) {
    // Out of the list, so that nobody writes to them while they are punched.
    std::vector<std::uint32_t> numbers = std::exchange(state->reusable, {});
    auto job = [&numbers, fd = state->fd.get(), block = state->options.block_size] {
        std::sort(numbers.begin(), numbers.end());
        return for_runs(
            numbers, block, numbers.size() * block,
            [fd](std::uint64_t offset, std::size_t, std::size_t size) { return punch(fd, offset, size); });
    };
    Result<> result = co_await state->pool.run_on(state->dir.paths(), std::ref(job));
    state->can_punch = result.has_value();
    auto& list = result ? state->holes : state->reusable;
    list.insert(list.end(), numbers.rbegin(), numbers.rend());
    state->trimming = false;
}

Result<> BlockFile::State::write_pieces(const std::vector<Piece>& pieces) {
    if (!fd) {
        auto file = dir.open_file();
        if (!file) return file.error();
        if (file->in_memory) return sys_error("open log file", ENOSPC);
        fd = std::move(file->fd);
    }
    for (const Piece& piece : pieces) {
        auto io = [&](std::uint64_t offset, std::size_t position, std::size_t size) {
            return write_at(fd.get(), piece.bytes.substr(position, size), offset);
        };
        Result<> result = for_runs(piece.to->numbers_, options.block_size, piece.bytes.size(), io);
        if (!result) return result;
    }
    return {};
}

BlockFile::Blocks::~Blocks() { free(); }

BlockFile::Blocks& BlockFile::Blocks::operator=(Blocks&& other) noexcept {
    if (this != &other) {
        free();
        state_ = std::move(other.state_);
        numbers_ = std::exchange(other.numbers_, {});
        backed_ = other.backed_;
    }
    return *this;
}

void BlockFile::Blocks::free() {
    if (state_ && !numbers_.empty()) state_->give_back(numbers_, backed_);
    state_.reset();
    numbers_.clear();
}

BlockFile::BlockFile(Loop& loop, BlockingPool& pool, SpillDir& dir, Options options)
    : state_(std::make_shared<State>(loop, pool, dir, options)) {}
BlockFile::~BlockFile() = default;

BlockFile::Blocks BlockFile::allocate(std::size_t bytes) {
    State& state = *state_;
    std::size_t wanted = (bytes + state.options.block_size - 1) / state.options.block_size;
    Blocks blocks;
    if (wanted > state.reusable.size() && !state.may_grow()) return blocks;
    blocks.state_ = state_;
    blocks.numbers_.reserve(wanted);
    while (blocks.numbers_.size() < wanted && !state.reusable.empty()) {
        blocks.numbers_.push_back(state.reusable.back());
        state.reusable.pop_back();
    }
    blocks.backed_ = blocks.numbers_.size();
    while (blocks.numbers_.size() < wanted) {
        if (state.holes.empty()) {
            blocks.numbers_.push_back(state.end++);
        } else {
            blocks.numbers_.push_back(state.holes.back());
            state.holes.pop_back();
        }
    }
    state.used += wanted;
    return blocks;
}

Task<Result<>> BlockFile::write(std::vector<Piece> pieces) {
    auto state = state_;
    auto job = [raw = state.get(), &pieces] { return raw->write_pieces(pieces); };
    Result<> result = co_await state->pool.run_on(state->dir.paths(), std::ref(job));
    if (result) {
        for (const Piece& piece : pieces) piece.to->backed_ = piece.to->numbers_.size();
    } else {
        state->grows_again = Clock::now() + state->options.retry;
    }
    co_return result;
}

Task<Result<>> BlockFile::read(const Blocks& from, std::span<char> out) {
    auto state = state_;
    auto job = [fd = state->fd.get(), block = state->options.block_size, &from, out] {
        auto io = [fd, out](std::uint64_t offset, std::size_t position, std::size_t size) {
            return read_at(fd, out.subspan(position, size), offset);
        };
        return for_runs(from.numbers_, block, out.size(), io);
    };
    Result<> result = co_await state->pool.run_on(state->dir.paths(), std::ref(job));
    co_return result;
}

bool BlockFile::may_grow() const { return state_->may_grow(); }
std::size_t BlockFile::used_bytes() const { return state_->used * state_->options.block_size; }
std::size_t BlockFile::reusable_bytes() const { return state_->reusable.size() * state_->options.block_size; }

}  // namespace sandbox
