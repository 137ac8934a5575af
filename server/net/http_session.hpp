#pragma once
// One HTTP connection. Private to net/: handlers see Exchange, the application sees HttpServer. The
// connection and its requests are in http_session.cpp, their bodies in http_session_body.cpp, the answers in
// http_session_answer.cpp.

#include <sys/uio.h>

#include <chrono>
#include <list>
#include <span>
#include <string>

#include "net/http_parser.hpp"
#include "net/http_server.hpp"
#include "net/receive_buffer.hpp"
#include "platform/acceptor.hpp"
#include "platform/event.hpp"
#include "platform/readiness.hpp"

namespace sandbox::net {

class HttpSession;

struct HttpServer::Impl : std::enable_shared_from_this<HttpServer::Impl> {
    Impl(Loop& l, const Router& r, Guard g, HttpLimits lim)
        : loop(l), router(r), guard(std::move(g)), limits(lim), stopped(l) {
        counters.by_route.resize(router.routes().size());
    }
    Loop& loop;
    const Router& router;
    Guard guard;
    HttpLimits limits;
    HttpCounters counters;
    // Ends a connection that has been waiting for a request, or the rest of its head, so long that it can be
    // spared; one that never had a whole head before others. False: there is none.
    bool make_room();

    std::list<HttpSession*> sessions;
    std::vector<std::shared_ptr<Acceptor>> acceptors;
    std::size_t running = 0;
    bool draining = false;
    bool stopping = false;
    bool any_origin = false;
    Event stopped;  // wakes the clock
};

class HttpSession final : public Exchange, public std::enable_shared_from_this<HttpSession> {
  public:
    using Clock = std::chrono::steady_clock;

    HttpSession(std::shared_ptr<HttpServer::Impl> server, UniqueFd socket);
    ~HttpSession() override;

    // Serves requests until the connection ends. The caller keeps the session alive meanwhile.
    Task<> run();

    // Once a second: ends what is over its deadline and finds disconnects that readiness cannot tell.
    void tick(Clock::time_point now);
    // Closes it if it is between requests.
    void close_if_idle();
    // Since when it has waited for (the rest of) a head; max() within a request.
    Clock::time_point waiting_since() const { return waiting_since_; }
    bool has_asked() const { return has_asked_; }  // a whole head has come
    void cut();

    const Request& request() const override { return head_.request; }
    Task<Result<std::string_view>> read_body() override { return read_body_into(std::span<char>()); }
    Task<Result<std::string_view>> read_body_into(std::span<char> room) override;
    void limit_body(std::uint64_t bytes) override { body_limit_ = bytes; }
    void wait_for_body() override { body_time_ = std::chrono::hours(24 * 365); }
    Task<bool> respond(int status, std::string_view content_type, std::string body,
                       HeaderList headers) override;
    Task<bool> begin(int status, std::string_view content_type, HeaderList headers,
                     std::optional<std::uint64_t> length) override;
    Task<bool> write(std::string_view bytes) override;
    Task<bool> write_file(BlockingPool& pool, int fd, std::uint64_t offset, std::uint64_t length) override;
    Task<bool> finish() override;
    void abort() override;
    bool answered() const override { return status_ != 0; }
    bool peer_gone() const override { return gone_; }
    void watch_disconnect(std::function<void()> gone) override;

  private:
    enum class Framing { none, length, chunked, until_close };
    // Of a body that nobody has read; for more the connection is closed.
    static constexpr std::uint64_t kDrainLimit = 256 * 1024;

    // Reading. fill() adds what the socket has to in_; false at the end of the connection. With `outside` it
    // goes there instead, and of `outside` is left what was received.
    enum class Filled { some, none, end };
    Filled fill_now(std::span<char>* outside);
    bool turn_is_over();
    Task<bool> fill() { return fill_or_receive(nullptr); }
    Task<bool> fill_or_receive(std::span<char>* outside);
    ssize_t receive(std::span<char> room);  // as recv(2), without waiting
    // The head that in_ begins with; empty while it is not whole, or when it is larger than allowed.
    std::string_view whole_head(std::size_t search_from = 0) const;
    Task<bool> read_head(std::string_view& head);
    Task<> serve_request();
    Task<> dispatch();
    Task<bool> answer_preflight();
    Task<> reject(BadRequest bad);
    Task<Result<std::string_view>> next_of_body(std::span<char> room);
    Task<> drain_body();  // what is left of it
    Task<> linger();
    void start_request();
    void log_request(Clock::time_point started) const;

    // Writing.
    std::string response_head(int status, std::string_view content_type, const HeaderList& headers,
                              Framing framing, std::uint64_t length);
    bool send_now(std::span<iovec>& parts);
    Task<bool> send(std::string_view first, std::string_view second = {}, std::string_view third = {});
    Task<bool> send_owned(std::string head, std::string body);
    void note_gone();

    // Disconnect watch.
    void look_for_disconnect();
    void end_watch();

    std::shared_ptr<HttpServer::Impl> server_;
    std::list<HttpSession*>::iterator position_;
    UniqueFd socket_;  // none: the connection has ended
    Readiness readiness_;
    ReceiveBuffer in_;
    unsigned steps_ = 0;               // since others had their turn
    std::size_t last_body_piece_ = 0;  // of in_, handed out by the last read_body()
    Clock::time_point deadline_ = Clock::time_point::max();
    Clock::time_point waiting_since_ = Clock::now();
    bool has_asked_ = false;
    bool idle_ = true;

    RequestHead head_;
    std::size_t route_index_ = 0;
    bool have_route_ = false;
    std::uint64_t body_limit_ = 0;
    std::chrono::seconds body_time_{0};
    std::uint64_t body_read_ = 0;
    bool body_done_ = true;
    std::unique_ptr<ChunkedBody> chunked_;
    std::string decoded_;

    int status_ = 0;
    Framing framing_ = Framing::none;
    std::uint64_t length_left_ = 0;
    bool finished_ = false;
    bool close_after_ = false;
    bool gone_ = false;

    std::function<void()> on_gone_;
    bool watch_full_ = false;
};

}  // namespace sandbox::net
