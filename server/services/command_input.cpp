// Input of a command: its stdin, or the terminal.

#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "services/command_impl.hpp"

namespace sandbox {
namespace {

constexpr std::size_t kInputChunk = 64 * 1024;  // what a pipe takes at once

bool given_up(const bool* give_up) { return give_up != nullptr && *give_up; }

}  // namespace

Command::InputPlace::InputPlace(std::shared_ptr<Command> command) : command_(std::move(command)) {
    Impl& impl = *command_->impl_;
    if (!command_->stdin_open()) return;
    impl.input_line.push_back(++impl.last_in_line);
    number_ = impl.last_in_line;
}

Command::InputPlace::~InputPlace() {
    if (number_ == 0) return;
    Impl& impl = *command_->impl_;
    std::erase(impl.input_line, number_);
    if (impl.input_line.empty() && impl.input_ending && impl.input) impl.input->close();
    impl.changed.notify();
}

Task<Result<>> Command::await_turn(const InputPlace& place, const bool* give_up) {
    Impl& impl = *impl_;
    const Error not_open{Errc::failed_precondition, "stdin is not open", EPIPE};
    if (place.number_ == 0) co_return not_open;
    while (impl.input_line.front() != place.number_ && !given_up(give_up)) co_await impl.changed.wait();
    if (given_up(give_up)) co_return Error{Errc::cancelled, "write given up", ECANCELED};
    if (!impl.input || !impl.input->is_open()) co_return not_open;
    co_return Result<>();
}

void Command::note_broken(const Result<>& written) {
    const bool broken = !written && written.error().sys_errno == EPIPE;
    if (broken && impl_->input && impl_->terminal_fd < 0) impl_->input->close();
}

Task<Result<>> Command::write_stdin(std::string bytes) {
    const InputPlace place(shared_from_this());
    if (Result<> turn = co_await await_turn(place, nullptr); !turn) co_return turn;
    Result<> written = co_await impl_->input->write_all(bytes);
    note_broken(written);
    co_return written;
}

Task<Result<>> Command::write_stdin(Spool& bytes, std::uint64_t& done, const bool* give_up) {
    const InputPlace place(shared_from_this());
    co_return co_await write_stdin(place, bytes, done, give_up);
}

Task<Result<>> Command::write_stdin(const InputPlace& place, Spool& bytes, std::uint64_t& done,
                                    const bool* give_up) {
    Result<> written = co_await await_turn(place, give_up);
    if (!written) co_return written;
    std::string chunk;
    while (written && done < bytes.size()) {
        chunk.resize(std::min<std::uint64_t>(kInputChunk, bytes.size() - done));
        Result<std::size_t> count = co_await bytes.read(done, chunk);
        if (!count) {
            written = count.error();
        } else if (!impl_->input) {
            written = sys_error("write", EPIPE);
        } else {
            std::string_view piece = std::string_view(chunk).substr(0, *count);
            written = co_await impl_->input->write_all(piece, give_up);
            if (written) done += *count;
        }
    }
    note_broken(written);
    co_return written;
}

void Command::wake_stdin_writers() {
    if (impl_->input) impl_->input->interrupt();
    impl_->changed.notify();
}

Result<> Command::close_stdin() {
    if (has_pty())
        return Error{Errc::failed_precondition, "a terminal has no end of input; send Ctrl-D (0x04)", 0};
    impl_->input_ending = true;
    if (impl_->input && impl_->input_line.empty()) impl_->input->close();
    return Result<>();
}

Result<> Command::resize(PtySize size) {
    if (!has_pty()) return Error{Errc::failed_precondition, "process has no terminal", ENOTTY};
    winsize window{};
    window.ws_col = size.columns;
    window.ws_row = size.rows;
    if (::ioctl(impl_->terminal_fd, TIOCSWINSZ, &window) != 0) return sys_error("resize", errno);
    return Result<>();
}

}  // namespace sandbox
