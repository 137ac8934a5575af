// The blocking client against a server that does what servers should not.

#include "koyeb/sandbox/client.hpp"

#include <gtest/gtest.h>

#include <chrono>

#include "fake_server.hpp"
#include "koyeb/sandbox/sandbox.hpp"

namespace koyeb::sandbox {
namespace {

using fake::Peer;
using fake::Request;
using fake::Server;

constexpr std::string_view kRunAnswer = R"({"stdout":"hi\n","stderr":"","code":0})";
constexpr std::string_view kComplete = "event: complete\ndata: {\"code\":3,\"error\":true}\n\n";

std::string output(std::string_view text) {
    return "event: output\ndata: {\"data\":\"" + std::string(text) + "\",\"stream\":\"stdout\"}\n\n";
}

RunRequest command(std::string text) {
    RunRequest request;
    request.cmd = std::move(text);
    return request;
}

TEST(Client, SendsHeadersAndKeepsThePathAndTheConnection) {
    Server server([](Peer& peer, const Request&) {
        peer.answer(200, kRunAnswer);
        return true;
    });
    ConnectionInfo info = server.info();
    info.url += "/koyeb-sandbox/";
    info.routing_key = "route-1";
    Client client(info);
    EXPECT_EQ(client.run(command("echo hi")).stdout_data, "hi\n");
    EXPECT_EQ(client.run(command("echo hi")).stdout_data, "hi\n");
    ASSERT_EQ(server.requests(), 2);
    Request seen = server.seen().back();
    EXPECT_EQ(seen.method, "POST");
    EXPECT_EQ(seen.target, "/koyeb-sandbox/run");
    EXPECT_EQ(seen.headers["authorization"], "Bearer s3cret");
    EXPECT_EQ(seen.headers["x-routing-key"], "route-1");
    EXPECT_EQ(seen.headers["content-type"], "application/json");
    EXPECT_EQ(seen.headers["host"], "127.0.0.1:" + std::to_string(server.port()));
    EXPECT_EQ(server.connections(), 1);
}

TEST(Client, RetriesOn503AndThenGivesUp) {
    Server server([](Peer& peer, const Request& request) {
        if (request.number <= 3)
            peer.answer(503, R"({"error":"starting"})");
        else
            peer.answer(200, kRunAnswer);
        return true;
    });
    Client client(server.info());
    EXPECT_EQ(client.run(command("x")).end.exit_code, 0);
    EXPECT_EQ(server.requests(), 4);

    Server never([](Peer& peer, const Request&) {
        peer.answer(503, R"({"error":"starting"})");
        return true;
    });
    Client refused(never.info());
    try {
        refused.run(command("x"));
        FAIL();
    } catch (const SandboxServiceError& error) {
        EXPECT_EQ(error.status_code(), 503);
        EXPECT_STREQ(error.what(), "starting");
    }
    EXPECT_EQ(never.requests(), 4);
}

TEST(Client, DrainingIsAnAnswer) {
    Server server([](Peer& peer, const Request&) {
        peer.answer(503, R"({"status":"draining"})");
        return true;
    });
    Client client(server.info());
    EXPECT_EQ(client.health().status, "draining");
    EXPECT_EQ(server.requests(), 1);
}

TEST(Client, StatusesBecomeErrors) {
    Server server([](Peer& peer, const Request& request) {
        if (request.target == "/list_processes") peer.answer(401, "Unauthorized\n");
        if (request.target == "/run") peer.answer(400, R"({"error":"Invalid working directory: /x"})");
        if (request.target == "/health") peer.answer(500, "<html>broken</html>");
        if (request.target == "/metrics") peer.answer(404, "");
        return true;
    });
    Client client(server.info());
    try {
        client.list_processes();
        FAIL();
    } catch (const SandboxServiceError& error) {
        EXPECT_EQ(error.status_code(), 401);
        EXPECT_STREQ(error.what(), "Unauthorized");
    }
    EXPECT_THROW(client.run(command("x")), SandboxCommandError);
    EXPECT_THROW(client.health(), SandboxServiceError);
    EXPECT_THROW(client.metrics(), SandboxServiceError);
}

TEST(Client, NobodyListens) {
    ConnectionInfo info;
    {
        Server server([](Peer&, const Request&) { return false; });
        info = server.info();
    }
    Client client(info);
    try {
        client.health();
        FAIL();
    } catch (const SandboxServiceError& error) {
        EXPECT_EQ(error.status_code(), 0);
    }
    EXPECT_EQ(Sandbox::connect(info).status(), "unreachable");
    EXPECT_FALSE(Sandbox::connect(info).is_healthy());
    EXPECT_FALSE(Sandbox::connect(info).wait_ready(Seconds{0.15}));
}

TEST(Client, AnAnswerCutAtAnyByteIsAnError) {
    const std::string whole = "HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\n" + std::string(kRunAnswer);
    ASSERT_EQ(kRunAnswer.size(), 38U);
    Server server([&whole](Peer& peer, const Request& request) {
        const std::size_t bytes = std::stoul(request.body.substr(request.body.find(':') + 2));
        peer.write(std::string_view(whole).substr(0, bytes));
        return false;
    });
    Client client(server.info());
    for (std::size_t bytes = 0; bytes < whole.size(); ++bytes)
        EXPECT_THROW(client.run(command(std::to_string(bytes))), SandboxServiceError) << bytes;
    EXPECT_EQ(client.run(command(std::to_string(whole.size()))).stdout_data, "hi\n");
}

TEST(Client, Garbage) {
    const std::vector<std::string> answers = {
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + std::string(70'000, 'a') +
            "\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: " + std::string(100000, 'x') + "\r\n\r\n"};
    Server server([&answers](Peer& peer, const Request& request) {
        peer.write(answers[static_cast<std::size_t>(request.number - 1)]);
        return false;
    });
    Client client(server.info());
    for (const std::string& answer : answers)
        EXPECT_THROW(client.run(command("x")), SandboxServiceError) << answer.substr(0, 80);
}

TEST(Client, SilenceTimesOut) {
    Server server([](Peer& peer, const Request&) {
        peer.write("HTTP/1.1 200 OK\r\nContent-");
        peer.wait_closed();
        return false;
    });
    ConnectionInfo info = server.info();
    info.timeout = Seconds{0.1};
    Client client(info);
    EXPECT_THROW(client.list_processes(), SandboxTimeoutError);
}

TEST(Client, AKeptConnectionThatWasClosedIsNoError) {
    Server server([](Peer& peer, const Request&) {
        peer.answer(200, R"({"status":"ok"})");
        return false;  // closes, although it promised to keep the connection
    });
    Client client(server.info());
    for (int i = 0; i < 20; ++i) EXPECT_EQ(client.health().status, "ok");
}

TEST(Client, EarlyRefusalOfALargeBodyIsHeard) {
    Server server([](Peer& peer, const Request&) {
        peer.answer(413, R"({"error":"too large"})", "Connection: close\r\n");
        return false;
    });
    Client client(server.info());
    WriteFileRequest request;
    request.path = "/x";
    request.content.assign(1 << 20, 'x');
    try {
        client.write_file(request);
        FAIL();
    } catch (const SandboxServiceError& error) {
        EXPECT_EQ(error.status_code(), 413);
    }
}

TEST(CommandStream, EventsInAnyChunking) {
    const std::string events = output("one") + output("two") + std::string(kComplete);
    for (const std::size_t size : {std::size_t{1}, std::size_t{7}, events.size()}) {
        Server server([&events, size](Peer& peer, const Request&) {
            peer.begin_events();
            for (std::size_t at = 0; at < events.size(); at += size)
                peer.chunk(std::string_view(events).substr(at, size));
            peer.end_chunks();
            return true;
        });
        Client client(server.info());
        CommandStream stream = client.run_streaming(command("x"));
        EXPECT_EQ(stream.next()->data, "one\n");
        EXPECT_EQ(stream.next()->data, "two\n");
        EXPECT_FALSE(stream.next());
        EXPECT_EQ(stream.end().exit_code, 3);
        EXPECT_FALSE(stream.next());
        CommandStream again = client.run_streaming(command("x"));
        while (again.next()) {
        }
        EXPECT_EQ(server.connections(), 1) << "the connection is used again after a whole stream";
    }
}

TEST(CommandStream, CutBeforeTheEndIsAnError) {
    Server server([](Peer& peer, const Request& request) {
        peer.begin_events();
        peer.chunk(output("one"));
        if (request.number == 1) peer.reset();
        if (request.number == 3) peer.end_chunks();
        return false;
    });
    Client client(server.info());
    for (int i = 0; i < 3; ++i) {
        EXPECT_THROW(
            {
                CommandStream stream = client.run_streaming(command("x"));
                while (stream.next()) {
                }
            },
            SandboxServiceError);
    }
}

TEST(CommandStream, ErrorEvent) {
    Server server([](Peer& peer, const Request&) {
        peer.begin_events();
        peer.chunk("event: error\ndata: {\"error\": \"Failed to start command\"}\n\n");
        peer.end_chunks();
        return true;
    });
    Client client(server.info());
    CommandStream stream = client.run_streaming(command("x"));
    EXPECT_THROW(stream.next(), SandboxCommandError);
}

TEST(CommandStream, DestroyingItClosesTheConnection) {
    std::atomic<bool> closed = false;
    {
        Server server([&closed](Peer& peer, const Request&) {
            peer.begin_events();
            peer.chunk(output("one"));
            closed = peer.wait_closed();
            return false;
        });
        Client client(server.info());
        {
            CommandStream stream = client.run_streaming(command("x"));
            EXPECT_TRUE(stream.next());
        }
    }
    EXPECT_TRUE(closed);
}

TEST(LogStream, GoesOnBehindTheLastIdWithoutLossOrDuplicate) {
    constexpr int kEvents = 40;
    // Each connection sends three events and breaks, now here, now there; each second one repeats an old
    // event.
    Server server([](Peer& peer, const Request& request) {
        int next = 1;
        const auto last = request.headers.find("last-event-id");
        if (last != request.headers.end()) {
            next = std::stoi(last->second) + (request.number % 2 == 0 ? 1 : 0);
        }
        peer.begin_events();
        for (int sent = 0; sent < 3 && next <= kEvents; ++sent, ++next)
            peer.chunk("id: " + std::to_string(next) +
                       "\nevent: log\ndata: {\"timestamp\":\"T\",\"stream\":\"stdout\",\"data\":\"" +
                       std::to_string(next) + "\"}\n\n");
        if (next > kEvents) {
            peer.chunk("event: complete\ndata: {\"message\": \"stream ended\"}\n\n");
            peer.end_chunks();
            return true;
        }
        peer.chunk("id: " + std::to_string(next) + "\nevent: log\ndata: {\"half");
        if (request.number % 3 == 0) peer.reset();
        return false;
    });
    Client client(server.info());
    LogsRequest request;
    request.id = "a b";
    LogStream stream = client.process_logs(request);
    int expected = 1;
    while (auto event = stream.next()) {
        EXPECT_EQ(event->id, expected);
        EXPECT_EQ(event->data, std::to_string(expected) + "\n");
        ++expected;
    }
    EXPECT_EQ(expected, kEvents + 1);
    EXPECT_EQ(stream.last_id(), kEvents);
    EXPECT_GT(server.requests(), 10);
}

TEST(LogStream, WithoutIdsABreakIsAnError) {
    Server server([](Peer& peer, const Request&) {
        peer.begin_events();
        peer.chunk("event: log\ndata: {\"timestamp\":\"T\",\"stream\":\"stdout\",\"data\":\"x\"}\n\n");
        return false;
    });
    Client client(server.info());
    LogStream stream = client.process_logs(LogsRequest{"p", std::nullopt, true});
    EXPECT_TRUE(stream.next());
    EXPECT_THROW(stream.next(), SandboxServiceError);
}

TEST(Sandbox, ExecRunsOnServersWithoutExtras) {
    Server server([](Peer& peer, const Request& request) {
        if (request.target == "/stat")
            peer.answer(404, "404 page not found\n");
        else
            peer.answer(200, kRunAnswer);
        return true;
    });
    Sandbox sandbox = Sandbox::connect(server.info());
    const CommandResult result = sandbox.exec("echo hi");
    EXPECT_EQ(result.stdout_data, "hi\n");
    EXPECT_TRUE(result.success());
    EXPECT_TRUE(sandbox.filesystem().exists("/x"));
    std::vector<std::string> targets;
    for (const Request& request : server.seen()) targets.push_back(request.target);
    EXPECT_EQ(targets, (std::vector<std::string>{"/stat", "/run", "/run"}));
}

TEST(Sandbox, AKillForMemoryIsTold) {
    Server server([](Peer& peer, const Request&) {
        peer.answer(
            200,
            R"({"stdout":"","stderr":"","error":"Non-zero exit code","code":137,"signal":"SIGKILL","oom_killed":true})");
        return true;
    });
    Sandbox sandbox = Sandbox::connect(server.info());
    const CommandResult result = sandbox.exec("x");
    EXPECT_EQ(result.exit_code, 137);
    EXPECT_EQ(result.signal, "SIGKILL");
    EXPECT_TRUE(result.oom_killed);
    EXPECT_FALSE(result.timed_out || result.pipes_open);
}

TEST(Sandbox, ATimedOutCommandKeepsItsOutput) {
    Server server([](Peer& peer, const Request& request) {
        if (request.target == "/stat")
            peer.answer(200, R"({"success":true})");
        else
            peer.answer(
                200,
                R"({"stdout":"aGFsZg==","stderr":"","error":"Command timed out","code":143,"timed_out":true})");
        return true;
    });
    Sandbox sandbox = Sandbox::connect(server.info());
    ExecOptions options;
    options.timeout = Seconds{0.5};
    try {
        sandbox.exec("x", options);
        FAIL();
    } catch (const SandboxTimeoutError& error) {
        EXPECT_STREQ(error.what(), "command timed out after 0.5 s");
        ASSERT_TRUE(error.partial());
        EXPECT_EQ(error.partial()->stdout_data, "half");
        EXPECT_EQ(error.partial()->exit_code, 143);
    }
}

TEST(Sandbox, WhatACallbackThrowsComesOutAndEndsTheCommand) {
    std::atomic<bool> closed = false;
    {
        Server server([&closed](Peer& peer, const Request&) {
            peer.begin_events();
            peer.chunk(output("one"));
            closed = peer.wait_closed();
            return false;
        });
        Sandbox sandbox = Sandbox::connect(server.info());
        ExecOptions options;
        options.on_stdout = [](std::string_view) { throw std::out_of_range("enough"); };
        EXPECT_THROW(sandbox.exec("x", options), std::out_of_range);
    }
    EXPECT_TRUE(closed);
}

TEST(Sandbox, ACallbackMayCallTheSandbox) {
    Server server([](Peer& peer, const Request& request) {
        if (request.target == "/run_streaming") {
            peer.begin_events();
            peer.chunk(output("one") + output("two"));
            peer.chunk(kComplete);
            peer.end_chunks();
        } else {
            peer.answer(200, R"({"entries":["a"]})");
        }
        return true;
    });
    Sandbox sandbox = Sandbox::connect(server.info());
    std::vector<std::string> seen;
    ExecOptions options;
    options.on_stdout = [&](std::string_view) { seen.push_back(sandbox.filesystem().ls("/").at(0)); };
    EXPECT_EQ(sandbox.exec("x", options).exit_code, 3);
    EXPECT_EQ(seen, (std::vector<std::string>{"a", "a"}));
}

TEST(Sandbox, PortsAreChecked) {
    ConnectionInfo info;
    info.url = "http://127.0.0.1:1";
    Sandbox sandbox = Sandbox::connect(info);
    for (const int port : {0, -1, 65536}) EXPECT_THROW(sandbox.expose_port(port), SandboxError);
    info.url = "nonsense";
    EXPECT_THROW(Sandbox::connect(info), SandboxError);
}

}  // namespace
}  // namespace koyeb::sandbox
