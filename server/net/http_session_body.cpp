// The body of a request.

#include "net/http_session.hpp"

namespace sandbox::net {
namespace {

// At once into the memory of whoever reads the body. Others have their turn after some of these.
constexpr std::size_t kDirectReadSize = 256 * 1024;

}  // namespace

Task<Result<std::string_view>> HttpSession::read_body_into(std::span<char> room) {
    if (body_done_) {
        in_.consume(std::exchange(last_body_piece_, 0));
        co_return std::string_view();
    }
    if (head_.expects_continue) {
        head_.expects_continue = false;
        if (in_.empty() && !co_await send("HTTP/1.1 100 Continue\r\n\r\n")) {
            co_return Error{Errc::cancelled, "client is gone", 0};
        }
    }
    if (body_limit_ != 0 && head_.request.content_length.value_or(0) > body_limit_) {
        close_after_ = true;
        co_return Error{Errc::too_large, "request body too large", 0};
    }
    Result<std::string_view> piece = co_await next_of_body(room);
    deadline_ = Clock::time_point::max();
    if (!piece) {
        close_after_ = true;
        co_return piece;
    }
    body_read_ += piece->size();
    if (body_limit_ != 0 && body_read_ > body_limit_) {
        close_after_ = true;
        co_return Error{Errc::too_large, "request body too large", 0};
    }
    co_return piece;
}

Task<Result<std::string_view>> HttpSession::next_of_body(std::span<char> room) {
    in_.consume(std::exchange(last_body_piece_, 0));
    decoded_.clear();
    for (;;) {
        std::string_view available = in_.bytes();
        if (!available.empty()) {
            if (!chunked_) {
                std::uint64_t left = *head_.request.content_length - body_read_;
                std::string_view piece = available.substr(
                    0, static_cast<std::size_t>(std::min<std::uint64_t>(left, available.size())));
                last_body_piece_ = piece.size();
                body_done_ = piece.size() == left;
                co_return piece;
            }
            Result<std::size_t> taken = chunked_->feed(available, decoded_, body_limit_);
            if (!taken) co_return taken.error();
            in_.consume(*taken);
            body_done_ = chunked_->done();
            if (!decoded_.empty() || body_done_) co_return std::string_view(decoded_);
        }
        deadline_ = Clock::now() + body_time_;
        if (chunked_ || room.empty()) {
            if (!co_await fill()) co_return Error{Errc::cancelled, "client is gone", 0};
            continue;
        }
        const std::uint64_t left = *head_.request.content_length - body_read_;
        std::uint64_t most = std::min<std::uint64_t>({left, room.size(), kDirectReadSize});
        room = room.first(static_cast<std::size_t>(most));
        const bool received = co_await fill_or_receive(&room);  // named: see scripts/check-coroutines
        if (!received) co_return Error{Errc::cancelled, "client is gone", 0};
        body_done_ = room.size() == left;
        co_return std::string_view(room.data(), room.size());
    }
}

// What the handler left unread stands in the way of the next request.
Task<> HttpSession::drain_body() {
    if (close_after_ || gone_ || head_.expects_continue ||
        head_.request.content_length.value_or(0) > kDrainLimit) {
        close_after_ = true;
        co_return;
    }
    std::uint64_t total = 0;
    while (!body_done_) {
        Result<std::string_view> piece = co_await next_of_body(std::span<char>());
        if (piece) body_read_ += piece->size();
        if (!piece || (total += piece->size()) > kDrainLimit) {
            close_after_ = true;
            break;
        }
    }
    in_.consume(std::exchange(last_body_piece_, 0));
    deadline_ = Clock::time_point::max();
}

}  // namespace sandbox::net
