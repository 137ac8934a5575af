#pragma once
// The real daemon on free ports, other programs, raw sockets, and the proof that nothing is left behind.

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <koyeb/sandbox.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "program.hpp"
#include "support/folder.hpp"

namespace e2e {

using Clock = std::chrono::steady_clock;

using sandbox::test::Folder;

// Asks again, every 5 ms, until the answer is yes; false after ten seconds.
bool eventually(const std::function<bool()>& condition);

class Daemon {
  public:
    // Returns when both listeners are ready. Without variables: static mode with the secret "s3cret".
    explicit Daemon(Variables variables = {{"SANDBOX_SECRET", "s3cret"}});
    // Ends it and fails the test when anything it started is alive after that.
    ~Daemon();
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;

    // SIGTERM; the exit code, 128 + n for a signal.
    int stop();
    // It was killed by the test: waits until it and all that came from it are gone.
    void expect_death();
    pid_t pid() const { return pid_; }
    int port() const { return port_; }
    int proxy_port() const { return proxy_port_; }
    std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
    koyeb::sandbox::ConnectionInfo info(const std::string& secret = "s3cret") const;
    Variables client_variables() const { return {{"SANDBOX_URL", url()}, {"SANDBOX_SECRET", "s3cret"}}; }
    // Processes that came from this daemon (found by a mark in their environment), without itself.
    std::vector<pid_t> offspring() const;
    // Its sockets, pipes and process descriptors: what clients and commands cost. Not what it keeps for later
    // use.
    std::size_t descriptors() const;
    std::string log() const;

  private:
    pid_t pid_ = -1;
    int port_ = 0;
    int proxy_port_ = 0;
    std::string mark_;
    struct Log;
    std::shared_ptr<Log> log_;
    std::thread reader_;
};

// One daemon for all tests of a program; ended by main().
Daemon& daemon();
koyeb::sandbox::Sandbox connect();

// A TCP connection to 127.0.0.1.
class RawSocket {
  public:
    explicit RawSocket(int port);
    ~RawSocket();
    RawSocket(const RawSocket&) = delete;
    RawSocket& operator=(const RawSocket&) = delete;
    // False when the other side does not take it any more.
    bool send(std::string_view bytes);
    void half_close();
    void reset();
    // To the end of the connection, or for ten seconds.
    std::string read_all();
    // At least until `text` has come.
    std::string read_until(std::string_view text);

  private:
    int fd_;
};

// Bytes that are no text and do not compress; the same for the same seed.
std::string random_bytes(std::size_t size, unsigned seed = 1);

}  // namespace e2e
