// Input of a command: its stdin, or the terminal.

#include <sys/ioctl.h>

#include "services/command_impl.hpp"

namespace sandbox {
namespace {

constexpr std::size_t kInputChunk = 64 * 1024;  // what a pipe takes at once

bool given_up(const bool* give_up) { return give_up != nullptr && *give_up; }

}  // namespace

// Writers take turns, so that none is torn.
Task<Result<>> Command::take_input(const bool* give_up) {
    Impl& impl = *impl_;
    const Error not_open{Errc::failed_precondition, "stdin is not open", EPIPE};
    if (!stdin_open()) co_return not_open;
    ++impl.input_writers;
    while (impl.input_busy && !given_up(give_up)) co_await impl.changed.wait();
    std::optional<Error> refused;
    if (!impl.input || !impl.input->is_open()) refused = not_open;
    if (given_up(give_up)) refused = Error{Errc::cancelled, "write given up", ECANCELED};
    if (refused) {
        leave_input();
        co_return *refused;
    }
    impl.input_busy = true;
    co_return Result<>();
}

void Command::leave_input() {
    Impl& impl = *impl_;
    if (--impl.input_writers == 0 && impl.input_ending && impl.input) impl.input->close();
}

void Command::give_input_back(const Result<>& written) {
    Impl& impl = *impl_;
    impl.input_busy = false;
    bool broken = !written && written.error().sys_errno == EPIPE;
    if (broken && impl.input && impl.terminal_fd < 0) impl.input->close();
    leave_input();
    impl.changed.notify();
}

Task<Result<>> Command::write_stdin(std::string bytes) {
    auto self = shared_from_this();
    if (Result<> turn = co_await take_input(nullptr); !turn) co_return turn;
    Result<> written = co_await impl_->input->write_all(bytes);
    give_input_back(written);
    co_return written;
}

Task<Result<>> Command::write_stdin(Spool& bytes, std::uint64_t& done, const bool* give_up) {
    auto self = shared_from_this();
    Result<> written = co_await take_input(give_up);
    if (!written) co_return written;
    std::string chunk;
    while (written && done < bytes.size()) {
        chunk.resize(kInputChunk);
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
    give_input_back(written);
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
    if (impl_->input && impl_->input_writers == 0) impl_->input->close();
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
