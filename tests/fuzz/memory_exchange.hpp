#pragma once
// One request and its answer in memory, without a connection.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz/fuzz_input.hpp"
#include "net/exchange.hpp"

namespace sandbox::fuzz {

// Holds a handler to the contract of Exchange: one head, no write beside another, nothing behind the end.
class MemoryExchange final : public net::Exchange {
  public:
    // The peer leaves when it has seen `patience` writes.
    MemoryExchange(net::Request request, std::vector<std::string_view> body, unsigned patience)
        : request_(std::move(request)), body_(std::move(body)), patience_(patience) {}

    const net::Request& request() const override { return request_; }
    Task<Result<std::string_view>> read_body() override {
        if (gone_) co_return Error{Errc::cancelled, "client is gone", 0};
        while (next_ < body_.size() && body_[next_].empty()) ++next_;
        co_return next_ < body_.size() ? body_[next_++] : std::string_view();
    }
    void limit_body(std::uint64_t) override {}
    void wait_for_body() override {}
    Task<bool> respond(int code, std::string_view type, std::string body, net::HeaderList headers) override {
        take_head(code, type, headers);
        answer += body;
        finished = true;
        co_return wrote();
    }
    Task<bool> begin(int code, std::string_view type, net::HeaderList headers,
                     std::optional<std::uint64_t> length) override {
        take_head(code, type, headers);
        length_ = length;
        co_return wrote();
    }
    Task<bool> write(std::string_view bytes) override {
        FUZZ_CHECK(answered() && !finished && !writing_);
        writing_ = true;
        if (!gone_) answer += bytes;
        const bool alive = wrote();
        writing_ = false;
        co_return alive;
    }
    Task<bool> write_file(BlockingPool&, int, std::uint64_t, std::uint64_t length) override {
        FUZZ_CHECK(answered() && !finished);
        answer.append(length, 'f');
        co_return wrote();
    }
    Task<bool> finish() override {
        FUZZ_CHECK(answered());
        FUZZ_CHECK(gone_ || !length_ || *length_ == answer.size() || request_.method == net::Method::head);
        finished = true;
        co_return !gone_;
    }
    void abort() override {
        aborted = true;
        leave();
    }
    bool answered() const override { return status != 0; }
    bool peer_gone() const override { return gone_; }
    void watch_disconnect(std::function<void()> gone) override {
        if (gone_) return gone();
        on_gone_ = std::move(gone);
    }

    void leave() {
        if (gone_) return;
        gone_ = true;
        if (auto callback = std::exchange(on_gone_, nullptr)) callback();
    }

    int status = 0;
    std::string content_type;
    std::string answer;
    bool finished = false;
    bool aborted = false;

  private:
    void take_head(int code, std::string_view type, const net::HeaderList& headers) {
        FUZZ_CHECK(!answered() && code >= 200 && code < 600);
        for (const net::Header& header : headers) {
            FUZZ_CHECK(header.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
        }
        status = code;
        content_type = type;
    }
    bool wrote() {
        if (patience_ > 0 && --patience_ == 0) leave();
        return !gone_;
    }

    net::Request request_;
    std::vector<std::string_view> body_;
    std::size_t next_ = 0;
    unsigned patience_;
    std::optional<std::uint64_t> length_;
    bool writing_ = false;
    bool gone_ = false;
    std::function<void()> on_gone_;
};

}  // namespace sandbox::fuzz
