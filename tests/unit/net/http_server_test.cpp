#include "net/http_server.hpp"

#include <chrono>
#include <thread>

#include "support/census.hpp"
#include "unit/net/http_server_fixture.hpp"

namespace sandbox::net::test {
namespace {

using sandbox::test::eventually;
using Clock = std::chrono::steady_clock;

TEST_F(HttpServerTest, AConnectionServesOneRequestAfterTheOther) {
    start();
    HttpPeer peer = connect();
    for (int i = 0; i < 3; ++i) {
        HttpAnswer answer = peer.ask(get("/hello?" + std::to_string(i)));
        EXPECT_EQ(answer.status, 200);
        EXPECT_EQ(answer.head.substr(0, 17), "HTTP/1.1 200 OK\r\n");
        EXPECT_EQ(answer.body, "hello /hello " + std::to_string(i));
        EXPECT_EQ(answer.header("content-type"), "text/plain");
        EXPECT_EQ(answer.header("date").size(), 29U);
        EXPECT_EQ(answer.header("connection"), "");
    }
    EXPECT_EQ(counters().accepted, 1U);
    EXPECT_EQ(counters().active, 1U);
    EXPECT_EQ(running(), 0U);
    peer.close();
    EXPECT_TRUE(all_closed());
}

TEST_F(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
    start();
    HttpPeer peer = connect();
    std::string requests;
    for (int i = 0; i < 50; ++i) {
        requests +=
            i % 2 == 0 ? post("/echo", "body " + std::to_string(i)) : get("/hello?" + std::to_string(i));
    }
    ASSERT_TRUE(peer.send(requests));
    for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(peer.receive().body, (i % 2 == 0 ? "body " : "hello /hello ") + std::to_string(i));
    }
}

TEST_F(HttpServerTest, WhoPipelinesALotDoesNotHoldUpOthers) {
    start();
    HttpPeer greedy = connect();
    HttpPeer other = connect();
    EXPECT_EQ(greedy.ask(get("/serial")).body, "1");
    EXPECT_EQ(other.ask(get("/serial")).body, "2");
    constexpr int kMany = 500;
    while_the_loop_stands([&] {
        std::string requests;
        for (int i = 0; i < kMany; ++i) requests += get("/serial");
        ASSERT_TRUE(greedy.send(requests));
        ASSERT_TRUE(other.send(get("/serial")));
    });
    EXPECT_LT(std::stoi(other.receive().body), 100);
    for (int i = 0; i < kMany; ++i) ASSERT_EQ(greedy.receive().status, 200) << i;
}

TEST_F(HttpServerTest, RequestsMayComeInAnyPieces) {
    start();
    HttpPeer peer = connect();
    const std::string chunked =
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
        "chunked\r\n\r\n4;x=y\r\nmore\r\n1\r\n!\r\n0\r\nT: t\r\n\r\n";
    const std::string both = post("/echo", "first") + post("/echo-into", "second") + chunked + get("/hello");
    auto check = [&](std::size_t cut) {
        ASSERT_EQ(peer.receive().body, "first") << cut;
        ASSERT_EQ(peer.receive().body, "second") << cut;
        ASSERT_EQ(peer.receive().body, "more!") << cut;
        ASSERT_EQ(peer.receive().body, "hello /hello ") << cut;
    };
    for (std::size_t cut = 1; cut < both.size(); ++cut) {
        ASSERT_TRUE(peer.send(both.substr(0, cut)));
        // So that the server reads the pieces apart: the kernel has no call that tells.
        std::this_thread::sleep_for(std::chrono::microseconds(200));
        ASSERT_TRUE(peer.send(both.substr(cut)));
        check(cut);
    }
    for (char c : both) ASSERT_TRUE(peer.send(std::string_view(&c, 1)));
    check(0);
}

TEST_F(HttpServerTest, HowConnectionsAreKept) {
    start();
    HttpPeer peer = connect();
    HttpAnswer answer = peer.ask(get("/hello", "Connection: close\r\n"));
    EXPECT_EQ(answer.header("connection"), "close");
    EXPECT_EQ(peer.ending(), 0);

    HttpPeer old = connect();
    answer = old.ask("GET /hello HTTP/1.0\r\n\r\n");
    EXPECT_EQ(answer.body, "hello /hello ");
    EXPECT_EQ(answer.header("connection"), "close");
    EXPECT_EQ(old.ending(), 0);

    HttpPeer kept = connect();
    for (int i = 0; i < 2; ++i) {
        answer = kept.ask("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        EXPECT_EQ(answer.header("connection"), "keep-alive");
    }
    answer = kept.ask("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_EQ(answer.header("transfer-encoding"), "") << "HTTP/1.0 knows no chunks";
    EXPECT_EQ(answer.header("connection"), "close");
    EXPECT_EQ(answer.body, "chunk 0\nchunk 1\nchunk 2\n");
}

TEST_F(HttpServerTest, AnswersInPieces) {
    start();
    HttpPeer peer = connect();
    HttpAnswer answer = peer.ask(get("/stream"));
    EXPECT_EQ(answer.header("transfer-encoding"), "chunked");
    EXPECT_TRUE(answer.complete);
    EXPECT_EQ(answer.chunks, (std::vector<std::string>{"chunk 0\n", "chunk 1\n", "chunk 2\n"}));
    answer = peer.ask(get("/length"));
    EXPECT_EQ(answer.header("content-length"), "10");
    EXPECT_EQ(answer.header("x-extra"), "yes");
    EXPECT_EQ(answer.body, "0123456789");
    answer = peer.ask(get("/file"));
    EXPECT_EQ(answer.body.size(), 999'997U);
    EXPECT_EQ(answer.body.substr(0, 1001), std::string(996, 'x') + "\nxxxx");
    EXPECT_TRUE(answer.complete);
    answer = peer.ask(get("/empty"));
    EXPECT_EQ(answer.status, 204);
    EXPECT_EQ(peer.ask(get("/hello")).status, 200);
}

TEST_F(HttpServerTest, HeadIsGetWithoutTheBody) {
    start();
    HttpPeer peer = connect();
    auto head = [&](const std::string& path) {
        return peer.ask("HEAD " + path + " HTTP/1.1\r\nHost: h\r\n\r\n", true);
    };
    EXPECT_EQ(head("/hello").header("content-length"), "13");
    EXPECT_EQ(head("/stream").header("transfer-encoding"), "chunked");
    EXPECT_EQ(head("/length").header("content-length"), "10");
    HttpAnswer missing = head("/missing");
    EXPECT_EQ(missing.status, 404);
    EXPECT_NE(missing.header("content-length"), "0");
    HttpAnswer not_allowed = head("/echo");
    EXPECT_EQ(not_allowed.status, 405);
    EXPECT_EQ(peer.ask(get("/hello")).status, 200) << "no stray body was in the way";
}

TEST_F(HttpServerTest, AFilesBodyIsNotSentToAHead) {
    start();
    HttpPeer peer = connect();
    HttpAnswer answer = peer.ask("HEAD /file HTTP/1.1\r\nHost: h\r\n\r\n", true);
    EXPECT_EQ(answer.header("content-length"), "999997");
    EXPECT_EQ(peer.ask(get("/hello")).status, 200);
}

TEST_F(HttpServerTest, RoutingAndItsErrors) {
    start();
    HttpPeer peer = connect();
    HttpAnswer answer = peer.ask(get("/missing"));
    EXPECT_EQ(answer.status, 404);
    EXPECT_EQ(answer.header("content-type"), "application/json");
    EXPECT_EQ(answer.body, "{\"error\":\"404 page not found\"}\n");
    EXPECT_EQ(peer.ask(get("/prefix/hello")).body, "hello /hello ");
    EXPECT_EQ(peer.ask(get("/a%20b?q")).body, "hello /a b q");
    EXPECT_EQ(peer.ask(get("/h%65llo")).status, 200);
    EXPECT_EQ(peer.ask(get("http://h/hello?x")).body, "hello /hello x");

    answer = peer.ask(get("/private"));
    EXPECT_EQ(answer.status, 401);
    EXPECT_EQ(answer.header("www-authenticate"), "Bearer");
    EXPECT_EQ(answer.body, "{\"error\":\"Unauthorized\"}\n");
    EXPECT_EQ(peer.ask(post("/private", "")).status, 401) << "before the method";
    EXPECT_EQ(peer.ask(get("/private", "Authorization: Bearer ok\r\n")).status, 200);
    answer = peer.ask(post("/private", "", "Authorization: Bearer ok\r\n"));
    EXPECT_EQ(answer.status, 405);
    EXPECT_EQ(answer.header("allow"), "GET, HEAD");
    EXPECT_EQ(answer.body, "{\"error\":\"Method not allowed\"}\n");
    EXPECT_EQ(peer.ask("FOO /hello HTTP/1.1\r\nHost: h\r\n\r\n").header("allow"), "GET, HEAD, POST");
    EXPECT_EQ(peer.ask("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);

    for (const auto& [path, location] :
         std::vector<std::pair<std::string, std::string>>{{"//hello", "/hello"},
                                                          {"/a/../hello?x=1", "/hello?x=1"},
                                                          {"/./hello", "/hello"},
                                                          {"/a%20b/.", "/a%20b"}}) {
        answer = peer.ask(get(path));
        EXPECT_EQ(answer.status, 301) << path;
        EXPECT_EQ(answer.header("location"), location);
    }
    EXPECT_EQ(counters().no_route[404], 1U);
}

TEST_F(HttpServerTest, MalformedRequestsAreAnsweredAndTheConnectionClosed) {
    start();
    const std::vector<std::pair<std::string, int>> requests = {
        {"garbage\r\n\r\n", 400},
        {"\r\n\r\n", 400},
        {"\x16\x03\x01\x02\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET /hello HTTP/1.1\nHost: h\n\n", 400},
        {get("/hello", "X: a\r\n b\r\n"), 400},
        {get("/%zz"), 400},
        {get("hello"), 400},
        {"GET /hello HTTP/2.0\r\nHost: h\r\n\r\n", 505},
        {post("/echo", "x", "Transfer-Encoding: chunked\r\n"), 400},
        {post("/echo", "x", "Content-Length: 2\r\n"), 400},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
        {get("/hello", "Expect: something\r\n"), 417},
        {get("/hello", "X: " + std::string(70'000, 'x') + "\r\n"), 431},
        {"GET /" + std::string(500'000, 'x'), 431},
    };
    for (const auto& [request, status] : requests) {
        HttpPeer peer = connect();
        // The second request must not be served: the two sides may not agree on where it begins.
        ASSERT_TRUE(peer.send(request + get("/hello?second")));
        HttpAnswer answer = peer.receive();
        EXPECT_EQ(answer.status, status) << request.substr(0, 100);
        EXPECT_EQ(answer.header("connection"), "close") << request.substr(0, 100);
        EXPECT_EQ(answer.header("content-type"), "application/json");
        EXPECT_EQ(answer.body.substr(0, 10), "{\"error\":\"");
        EXPECT_EQ(peer.rest(), "") << request.substr(0, 100);
        EXPECT_EQ(peer.ending(), 0) << "not by a reset: " << request.substr(0, 100);
    }
    EXPECT_TRUE(all_closed());
}

// ---------------------------------------------------------------- bodies

TEST_F(HttpServerTest, BodiesOfAnySize) {
    start();
    HttpPeer peer = connect();
    for (std::size_t size : {0U, 1U, 4096U, 65'536U, 3'000'000U}) {
        std::string body(size, 'b');
        for (std::size_t i = 0; i < size; i += 997) body[i] = static_cast<char>(i);
        EXPECT_TRUE(peer.ask(post("/echo", body)).body == body) << size;
        const HttpAnswer into_memory = peer.ask(post("/echo-into", body));
        EXPECT_TRUE(into_memory.body == body) << size;
        EXPECT_TRUE(size < 1'000'000 || into_memory.header("x-used") == "yes") << size;
        std::string chunked = "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (std::size_t at = 0; at < size; at += 100'000) {
            std::string part = body.substr(at, 100'000);
            char line[32];
            std::snprintf(line, sizeof line, "%zX\r\n", part.size());
            chunked += line + part + "\r\n";
        }
        EXPECT_TRUE(peer.ask(chunked + "0\r\n\r\n").body == body) << size;
        const std::string into = "POST /echo-into" + chunked.substr(sizeof "POST /echo" - 1);
        EXPECT_TRUE(peer.ask(into + "0\r\n\r\n").body == body) << size;
    }
}

TEST_F(HttpServerTest, BodyLimits) {
    HttpLimits limits;
    limits.body_bytes = 1000;
    start(limits);
    EXPECT_EQ(ask(post("/echo", std::string(1000, 'x'))).status, 200);
    HttpPeer announced = connect();
    HttpAnswer answer = announced.ask(post("/echo", std::string(1001, 'x')));
    EXPECT_EQ(answer.status, 413);
    EXPECT_EQ(answer.header("connection"), "close");
    EXPECT_EQ(announced.ending(), 0);
    HttpPeer chunked = connect();
    answer = chunked.ask("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3E9\r\n" +
                         std::string(1001, 'x') + "\r\n0\r\n\r\n");
    EXPECT_EQ(answer.status, 413);
    EXPECT_EQ(chunked.ending(), 0);
    EXPECT_EQ(ask(post("/limited", std::string(10, 'x'))).status, 200);
    EXPECT_EQ(ask(post("/limited", std::string(11, 'x'))).status, 413);
}

TEST_F(HttpServerTest, ContinueIsSentWhenTheBodyIsWantedAndNotBefore) {
    start();
    const std::string expecting = "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    HttpPeer peer = connect();
    EXPECT_EQ(peer.ask("POST /echo HTTP/1.1\r\nHost: h\r\n" + expecting).status, 100);
    EXPECT_EQ(peer.ask("body").body, "body");
    EXPECT_EQ(peer.ask("POST /echo HTTP/1.1\r\nHost: h\r\n" + expecting + "body").body, "body")
        << "it was there already";

    HttpPeer denied = connect();
    HttpAnswer answer = denied.ask("POST /private-echo HTTP/1.1\r\nHost: h\r\n" + expecting);
    EXPECT_EQ(answer.status, 401);
    EXPECT_EQ(answer.header("connection"), "close");
    EXPECT_EQ(denied.ending(), 0);

    HttpPeer unread = connect();
    answer = unread.ask("POST /unread HTTP/1.1\r\nHost: h\r\n" + expecting);
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.header("connection"), "close") << "whether the body comes is not known";
}

TEST_F(HttpServerTest, ABodyThatNobodyReadsIsNotInTheWay) {
    start();
    HttpPeer peer = connect();
    ASSERT_TRUE(peer.send(post("/unread", std::string(200'000, 'u')) + get("/hello")));
    EXPECT_EQ(peer.receive().body, "hello /unread ");
    EXPECT_EQ(peer.receive().body, "hello /hello ");
    ASSERT_TRUE(peer.send(
        "POST /missing HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" +
        get("/hello")));
    EXPECT_EQ(peer.receive().status, 404);
    EXPECT_EQ(peer.receive().body, "hello /hello ");
    // Too much to read for nothing: told, and closed without a reset that would take the answer with it.
    HttpAnswer answer = peer.ask(post("/unread", std::string(600'000, 'u')));
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.header("connection"), "close");
    EXPECT_EQ(peer.ending(), 0);
}

// ---------------------------------------------------------------- handlers that go wrong

TEST_F(HttpServerTest, ABrokenHandlerIsTold) {
    start();
    HttpPeer peer = connect();
    for (const char* path : {"/throws", "/silent"}) {
        HttpAnswer answer = peer.ask(get(path));
        EXPECT_EQ(answer.status, 500) << path;
        EXPECT_EQ(answer.body, "{\"error\":\"Internal Server Error\"}\n");
    }
    EXPECT_EQ(peer.ask(get("/hello")).status, 200);
    for (const char* path : {"/half", "/throws-late", "/short", "/file?more"}) {
        HttpPeer cut = connect();
        HttpAnswer answer = cut.ask(get(path));
        EXPECT_EQ(answer.status, 200) << path;
        EXPECT_FALSE(answer.complete) << path << ": the peer must see that it is cut";
    }
    EXPECT_TRUE(eventually([this] { return running() == 0; }));
}

// ---------------------------------------------------------------- peers that leave

TEST_F(HttpServerTest, APeerThatLeavesIsNoticedAtOnce) {
    start();
    HttpPeer closed = connect();
    HttpPeer half_closed = connect();
    HttpPeer reset = connect();
    HttpPeer stays = connect();
    for (HttpPeer* peer : {&closed, &half_closed, &reset, &stays}) peer->send(get("/wait"));
    ASSERT_TRUE(eventually([this] { return seen_.waiting == 4; }));
    EXPECT_EQ(running(), 4U);
    closed.close();
    EXPECT_TRUE(eventually([this] { return seen_.gone == 1; }));
    half_closed.finish_sending();
    EXPECT_TRUE(eventually([this] { return seen_.gone == 2; }));
    reset.reset();
    EXPECT_TRUE(eventually([this] { return seen_.gone == 3; }));
    release();
    EXPECT_EQ(stays.receive().body, "waited");
    EXPECT_EQ(stays.ask(get("/hello")).status, 200) << "the watch has ended with its request";
    stays.close();
    EXPECT_TRUE(all_closed());
    EXPECT_EQ(seen_.gone, 3);
}

TEST_F(HttpServerTest, PipelinedRequestsAreNoDisconnect) {
    start();
    HttpPeer peer = connect();
    peer.send(post("/wait", "with a body"));
    ASSERT_TRUE(eventually([this] { return seen_.waiting == 1; }));
    peer.send(get("/hello?1") + get("/hello?2"));
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    peer.send(get("/hello?3"));
    EXPECT_EQ(seen_.gone, 0);
    release();
    EXPECT_EQ(peer.receive().body, "waited");
    for (int i = 1; i <= 3; ++i) EXPECT_EQ(peer.receive().body, "hello /hello " + std::to_string(i));
    // Watched again and again on one connection.
    for (int i = 0; i < 50; ++i) ASSERT_EQ(peer.ask(get("/wait")).body, "waited");
    EXPECT_EQ(seen_.gone, 0);
}

TEST_F(HttpServerTest, ALeavingPeerIsNoticedBehindALotOfPipelinedBytes) {
    start();
    HttpPeer peer = connect();
    peer.send(get("/wait"));
    ASSERT_TRUE(eventually([this] { return seen_.waiting == 1; }));
    peer.send(post("/echo", std::string(100'000, 'p')));
    EXPECT_EQ(seen_.gone, 0);
    peer.finish_sending();
    EXPECT_TRUE(eventually([this] { return seen_.gone == 1; }));
    EXPECT_TRUE(all_closed());
}

TEST_F(HttpServerTest, ALotOfPipelinedBytesIsServedInTheEnd) {
    start();
    HttpPeer peer = connect();
    peer.send(get("/wait"));
    ASSERT_TRUE(eventually([this] { return seen_.waiting == 1; }));
    std::thread sender([&] { peer.send(post("/echo", std::string(500'000, 'p'))); });
    release();
    EXPECT_EQ(peer.receive().body, "waited");
    EXPECT_EQ(peer.receive().body.size(), 500'000U);
    sender.join();
}

TEST_F(HttpServerTest, AWriterWaitsForItsPeerAndLearnsThatItLeft) {
    start();
    HttpPeer peer = connect(64 * 1024);
    peer.send(get("/flood"));
    std::uint64_t before = 0;
    // Until the buffers are full.
    ASSERT_TRUE(eventually([&] {
        std::uint64_t now = seen_.flooded;
        bool still = now == before;
        before = now;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        return still;
    }));
    EXPECT_LT(seen_.flooded, 64U * 1024 * 1024) << "nobody reads";
    EXPECT_FALSE(seen_.flood_over);
    peer.reset();
    EXPECT_TRUE(eventually([this] { return seen_.flood_over.load(); }));
    EXPECT_TRUE(all_closed());
}

TEST_F(HttpServerTest, ThePeerMayLeaveAtAnyByteOfItsRequest) {
    start();
    const std::string request = post("/echo", "body");
    for (std::size_t sent = 0; sent <= request.size(); ++sent) {
        HttpPeer peer = connect();
        peer.send(request.substr(0, sent));
        if (sent % 2 == 0) {
            peer.close();
        } else {
            peer.reset();
        }
    }
    EXPECT_TRUE(all_closed());
    EXPECT_EQ(running(), 0U);
    EXPECT_EQ(ask(get("/hello")).status, 200);
}

// ---------------------------------------------------------------- limits, deadlines, the end

TEST_F(HttpServerTest, ConnectionsBeyondTheLimitAreClosed) {
    HttpLimits limits;
    limits.connections = 2;
    start(limits);
    HttpPeer first = connect();
    HttpPeer second = connect();
    EXPECT_EQ(first.ask(get("/hello")).status, 200);
    EXPECT_EQ(second.ask(get("/hello")).status, 200);
    HttpPeer third = connect();
    EXPECT_EQ(third.rest(), "");
    EXPECT_EQ(counters().refused, 1U);
    first.close();
    EXPECT_TRUE(eventually([this] { return counters().active == 1; }));
    EXPECT_EQ(ask(get("/hello")).status, 200);
    EXPECT_EQ(second.ask(get("/hello")).status, 200);
}

TEST_F(HttpServerTest, SlowPeersAreCutAndWorkingOnesNot) {
    HttpLimits limits;
    limits.head_time = limits.body_time = limits.idle_time = std::chrono::seconds(1);
    start(limits);
    auto before = Clock::now();
    HttpPeer idle = connect();
    HttpPeer used = connect();
    EXPECT_EQ(used.ask(get("/hello")).status, 200);
    HttpPeer half_head = connect();
    half_head.send("GET /hello HTTP/1.1\r\nHo");
    HttpPeer half_body = connect();
    half_body.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nsome");
    HttpPeer half_unread = connect();
    half_unread.send("POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nsome");
    HttpPeer working = connect();
    working.send(get("/wait"));
    for (HttpPeer* peer : {&idle, &used, &half_head, &half_body}) EXPECT_EQ(peer->ending(), 0);
    EXPECT_EQ(half_unread.receive().status, 200);
    EXPECT_EQ(half_unread.ending(), 0);
    auto took = Clock::now() - before;
    EXPECT_GE(took, std::chrono::seconds(1));
    EXPECT_LT(took, std::chrono::seconds(10));
    std::this_thread::sleep_until(before + std::chrono::milliseconds(2500));
    EXPECT_EQ(seen_.gone, 0) << "a handler may take its time";
    release();
    EXPECT_EQ(working.receive().body, "waited");
}

TEST_F(HttpServerTest, Draining) {
    start();
    HttpPeer idle = connect();
    EXPECT_EQ(idle.ask(get("/hello")).status, 200);
    HttpPeer busy = connect();
    busy.send(get("/wait"));
    ASSERT_TRUE(eventually([this] { return seen_.waiting == 1; }));
    drain();
    EXPECT_EQ(idle.ending(), 0) << "an idle connection is closed";
    HttpPeer late = connect();
    HttpAnswer answer = late.ask(get("/private", "Authorization: Bearer ok\r\n"));
    EXPECT_EQ(answer.status, 503);
    EXPECT_EQ(answer.header("connection"), "close");
    EXPECT_EQ(answer.body, "{\"error\":\"the sandbox is shutting down\"}\n");
    EXPECT_EQ(ask(get("/hello")).status, 200) << "an open route";
    EXPECT_EQ(running(), 1U);
    release();
    answer = busy.receive();
    EXPECT_EQ(answer.body, "waited");
    EXPECT_EQ(answer.header("connection"), "close");
    EXPECT_EQ(busy.ending(), 0);
    EXPECT_TRUE(all_closed());
}

TEST_F(HttpServerTest, StoppingCutsEverything) {
    start();
    HttpPeer idle = connect();
    EXPECT_EQ(idle.ask(get("/hello")).status, 200);
    HttpPeer busy = connect();
    busy.send(get("/wait"));
    HttpPeer flooded = connect();
    flooded.send(get("/flood"));
    ASSERT_TRUE(eventually([this] { return seen_.waiting == 1 && seen_.flooded > 0; }));
    stop();
    EXPECT_EQ(idle.ending(), 0);
    EXPECT_EQ(busy.rest(), "");
    flooded.rest();
    EXPECT_TRUE(all_closed());
    EXPECT_EQ(seen_.gone, 1);
    HttpPeer refused = connect();
    EXPECT_FALSE(refused.send("x")) << "nobody listens";
}

}  // namespace
}  // namespace sandbox::net::test
