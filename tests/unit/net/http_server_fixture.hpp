#pragma once
// An HttpServer on a loop thread of its own, with handlers that show one thing each.

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "net/http_server.hpp"
#include "support/http_peer.hpp"

namespace sandbox::net::test {

using sandbox::test::HttpAnswer;
using sandbox::test::HttpPeer;

// What handlers have seen; written on the loop thread, polled by the test.
struct Seen {
    std::atomic<int> waiting = 0;
    std::atomic<int> gone = 0;
    std::atomic<int> released = 0;
    std::atomic<bool> flood_over = false;
    std::atomic<std::uint64_t> flooded = 0;
};

class HttpServerTest : public testing::Test {
  protected:
    HttpServerTest();
    ~HttpServerTest() override;

    void start(HttpLimits limits = {});
    // Lets the requests to /wait go on.
    void release();
    void drain();
    void stop();
    HttpCounters counters();
    std::size_t running();
    bool all_closed();
    // Runs `action` on the loop's thread: what clients do meanwhile the server finds all at once.
    void while_the_loop_stands(const std::function<void()>& action);

    HttpPeer connect(int receive_buffer = 0) const { return HttpPeer(port_, receive_buffer); }
    // One request on a connection of its own.
    HttpAnswer ask(std::string_view request) const {
        HttpPeer peer = connect();
        return peer.ask(request);
    }
    static std::string get(const std::string& path, const std::string& headers = "") {
        return "GET " + path + " HTTP/1.1\r\nHost: h\r\n" + headers + "\r\n";
    }
    static std::string post(const std::string& path, const std::string& body,
                            const std::string& headers = "") {
        return "POST " + path + " HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) +
               "\r\n" + headers + "\r\n" + body;
    }

    void TearDown() override;

    struct Server;
    Seen seen_;
    std::uint16_t port_ = 0;
    std::unique_ptr<Server> server_;
};

}  // namespace sandbox::net::test
