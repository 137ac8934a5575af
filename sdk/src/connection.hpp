#pragma once
// Connections to the sandbox, over TCP or TLS, and those that wait for their next request. Private to the
// transport.

#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/system/error_code.hpp>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "transport.hpp"

namespace koyeb::sandbox {

// Throws what the failure of an operation means: SandboxTimeoutError, SandboxServiceError, or system_error
// with operation_aborted when it was cancelled.
[[noreturn]] void throw_io_error(const boost::system::error_code& ec, const std::string& doing);

// Whether the peer has gone.
bool is_end(const boost::system::error_code& ec);

using IoResult = std::tuple<boost::system::error_code, std::size_t>;

class Connection {
  public:
    explicit Connection(const boost::asio::any_io_executor& executor) : stream_(executor) {}
    // The socket's operations refer to this object.
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // Resolution, connection and handshake, until `limit`.
    Awaitable<> open(Url url, Clock::time_point limit, boost::asio::ssl::context* tls, bool verify);
    void set_limit(const Patience& patience);
    void set_no_limit() { stream_.expires_never(); }
    Awaitable<IoResult> read_some(boost::asio::mutable_buffer buffer);
    // All of `bytes`, or what stopped it; `patience` counts anew for each part that leaves.
    Awaitable<boost::system::error_code> write_all(boost::asio::const_buffer bytes, Patience patience);
    bool is_open() { return stream_.socket().is_open(); }
    // Whether the peer has not closed it, and has not sent anything unasked.
    bool usable();

    std::string received;  // read, but not parsed
    Clock::time_point idle_since;

  private:
    boost::beast::tcp_stream stream_;
    std::optional<boost::asio::ssl::stream<boost::beast::tcp_stream&>> tls_;
};

// Owns what all connections of a client share; lives until the last exchange has ended.
struct ConnectionPool {
    std::unique_ptr<boost::asio::ssl::context> tls;  // made with the first https connection
    std::vector<std::unique_ptr<Connection>> idle;
    std::string ca_file;
    bool verify = true;
    Seconds connect_timeout{10};

    // A new connection.
    Awaitable<std::unique_ptr<Connection>> connect(boost::asio::any_io_executor executor, Url url);
    // Null when none waits.
    std::unique_ptr<Connection> take_idle();
    void keep(std::unique_ptr<Connection> connection);

  private:
    boost::asio::ssl::context& tls_context();
};

}  // namespace koyeb::sandbox
