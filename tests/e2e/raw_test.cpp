// What the SDK is too polite for: bad requests and disconnects at every stage, by raw sockets; and other
// clients.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "support.hpp"

using namespace koyeb::sandbox;
using e2e::daemon;
using e2e::eventually;
using e2e::RawSocket;

namespace {

const std::vector<std::string> kPosts = {
    "/run",           "/run_streaming", "/write_file", "/read_file",     "/delete_file", "/make_dir",
    "/delete_dir",    "/list_dir",      "/stat",       "/move",          "/copy",        "/bind_port",
    "/start_process", "/kill_process",  "/send_stdin", "/signal_process"};
const std::vector<std::string> kGets = {"/list_processes", "/get_process?id=x",
                                        "/process_logs_streaming?id=x", "/metrics"};

std::string request(const std::string& method, const std::string& path, const std::string& body,
                    const std::string& secret = "s3cret") {
    return method + " " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + secret +
           "\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\n\r\n" + body;
}

int status_of(const std::string& answer) { return answer.size() > 12 ? std::atoi(answer.c_str() + 9) : 0; }

std::string ask(const std::string& bytes) {
    RawSocket socket(daemon().port());
    socket.send(bytes);
    return socket.read_all();
}

bool healthy() { return e2e::connect().is_healthy(); }

TEST(Raw, BadBodiesOnEveryEndpoint) {
    const std::string deep(100000, '[');
    const std::vector<std::string> bodies = {
        "",
        "{",
        "[]",
        "1",
        "\"x\"",
        "nul",
        "{\"cmd\":1,\"path\":1,\"id\":1,\"port\":{},\"source\":1}",
        "{}x",
        "{}{}",
        "{'a':1}",
        "{\"a\":1,}",
        "\xEF\xBB\xBF{}",
        "{\"path\":\"a\nb\"}",
        "{\"a\":01}",
        deep,
        "{\"cmd\":[\"a\"],\"path\":[\"a\"],\"id\":[1],\"port\":[1],\"source\":[]}"};
    for (const std::string& path : kPosts)
        for (const std::string& body : bodies) {
            const std::string answer = ask(request("POST", path, body));
            EXPECT_EQ(status_of(answer), 400) << path << " " << body.substr(0, 60) << "\n" << answer;
            EXPECT_NE(answer.find("{\"error\":\""), std::string::npos)
                << path << " " << body.substr(0, 60) << "\n"
                << answer;
        }
    EXPECT_TRUE(healthy());
}

TEST(Raw, SecretAndMethod) {
    for (const std::vector<std::string>& paths : {kPosts, kGets})
        for (const std::string& path : paths) {
            const bool post = std::find(kPosts.begin(), kPosts.end(), path) != kPosts.end();
            const std::string right = post ? "POST" : "GET";
            const std::string wrong = post ? "GET" : "POST";
            EXPECT_EQ(status_of(ask(request(right, path, "{}", "wrong"))), 401) << path;
            EXPECT_EQ(status_of(ask(request(right, path, "{}", ""))), 401) << path;
            const std::string refused = ask(request(wrong, path, "{}"));
            EXPECT_EQ(status_of(refused), 405) << path;
            EXPECT_NE(refused.find("\r\nAllow: "), std::string::npos) << path;
        }
    EXPECT_EQ(status_of(ask(request("GET", "/nothing", ""))), 404);
}

TEST(Raw, BrokenHttp) {
    for (const char* bytes :
         {"garbage\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "GET /health HTTP/1.1\r\n\r\n",
          "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
          "POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          "POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
          "GET /health HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n", "GET /health HTTP/1.1\nHost: x\n\n",
          "GET /health HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n"}) {
        const int status = status_of(ask(bytes));
        EXPECT_TRUE((status >= 400 && status < 500) || status == 501 || status == 505)
            << bytes << " " << status;
    }
    EXPECT_TRUE(healthy());
}

// Cuts the connection behind every byte of a request, and in the middle of answers; nothing may stay.
TEST(Raw, DisconnectsAtEveryStage) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, to look at the descriptors of the daemon";
    healthy();
    const std::size_t before = daemon().descriptors();
    const std::string body = R"({"cmd":"sleep 1000","cwd":"/tmp"})";
    for (const std::string path : {"/run", "/run_streaming"}) {
        const std::string whole = request("POST", path, body);
        for (std::size_t length = 0; length <= whole.size(); length += 3) {
            RawSocket socket(daemon().port());
            socket.send(std::string_view(whole).substr(0, length));
            if (length % 2 == 0) socket.reset();
        }
    }
    for (int i = 0; i < 20; ++i) {
        RawSocket socket(daemon().port());
        socket.send(request("POST", "/run_streaming", R"({"cmd":"yes; sleep 1000"})"));
        socket.read_until("\"y\"");
        if (i % 2 == 0) socket.reset();
    }
    EXPECT_TRUE(eventually([] { return daemon().offspring().empty(); }));
    EXPECT_TRUE(eventually([before] { return daemon().descriptors() <= before + 1; }))
        << before << " before, " << daemon().descriptors() << " now";
    EXPECT_TRUE(healthy());
}

std::string call(const std::string& method, const std::string& body, const std::string& type,
                 const std::string& secret = "s3cret") {
    return "POST /" + method + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + secret +
           "\r\nConnection: close\r\nContent-Type: " + type +
           "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string envelope(const std::string& message) {
    std::string framed(5, '\0');
    for (std::size_t i = 0; i < 4; ++i) framed[4 - i] = static_cast<char>(message.size() >> (8 * i) & 0xFFU);
    return framed + message;
}

const std::vector<std::string> kUnaryCalls = {"process.Process/SendInput",
                                              "process.Process/CloseStdin",
                                              "process.Process/SendSignal",
                                              "process.Process/Update",
                                              "filesystem.Filesystem/Stat",
                                              "filesystem.Filesystem/MakeDir",
                                              "filesystem.Filesystem/Move",
                                              "filesystem.Filesystem/ListDir",
                                              "filesystem.Filesystem/GetWatcherEvents",
                                              "filesystem.Filesystem/Remove",
                                              "filesystem.Filesystem/CreateWatcher",
                                              "filesystem.Filesystem/RemoveWatcher"};
const std::vector<std::string> kStreamCalls = {"process.Process/Start", "process.Process/Connect",
                                               "process.Process/StreamInput",
                                               "filesystem.Filesystem/WatchDir"};

TEST(Raw, BadInputOnTheEnvdCalls) {
    const std::vector<std::string> bodies = {"{",
                                             "[]",
                                             "1",
                                             "{}x",
                                             "{\"path\":1,\"process\":1,\"source\":1,\"watcherId\":[]}",
                                             std::string(100000, '[')};
    for (const std::string& method : kUnaryCalls) {
        for (const std::string& body : bodies) {
            const std::string answer = ask(call(method, body, "application/json"));
            EXPECT_EQ(status_of(answer), 400) << method << " " << body.substr(0, 60) << "\n" << answer;
            EXPECT_NE(answer.find("{\"code\":\""), std::string::npos) << answer;
        }
        EXPECT_EQ(status_of(ask(call(method, "{}", "text/plain"))), 415) << method;
        EXPECT_EQ(status_of(ask(call(method, "{}", "application/json", "wrong"))), 401) << method;
        EXPECT_EQ(status_of(ask(request("GET", "/" + method, ""))), 405) << method;
    }
    for (const std::string& method : kStreamCalls) {
        for (const std::string& body : bodies) {
            const std::string answer = ask(call(method, envelope(body), "application/connect+json"));
            EXPECT_EQ(status_of(answer), 200) << method << "\n" << answer;
            EXPECT_NE(answer.find("{\"error\":{\"code\":\""), std::string::npos)
                << method << " " << body.substr(0, 60) << "\n"
                << answer;
        }
        // Envelopes that are none: cut, larger than allowed, of an unknown kind.
        for (const std::string& bytes : {std::string("\0\0\0\0\5{}", 7), std::string("\0\x7F\xFF\xFF\xFF", 5),
                                         std::string("\10\0\0\0\2{}", 7)}) {
            const std::string answer = ask(call(method, bytes, "application/connect+json"));
            EXPECT_NE(answer.find("{\"error\":{\"code\":\""), std::string::npos) << method << "\n" << answer;
        }
        EXPECT_EQ(status_of(ask(call(method, "{}", "application/json"))), 415) << method;
        EXPECT_EQ(status_of(ask(call(method, "{}", "application/connect+json", ""))), 401) << method;
    }
    for (const char* path :
         {"/files", "/files?path=", "/files?path=/tmp", "/files?path=/no/such&username=nobody-here"}) {
        const int status = status_of(ask(request("GET", path, "")));
        EXPECT_TRUE(status == 400 || status == 401) << path << " " << status;
    }
    EXPECT_EQ(status_of(ask(call("files?path=/tmp/x", "x", "text/plain"))), 400);
    EXPECT_EQ(status_of(ask(call("files", "x", "application/octet-stream"))), 400);
    EXPECT_EQ(status_of(ask(call("files", "x", "multipart/form-data"))), 400);
    EXPECT_TRUE(healthy());
}

// Cuts uploads at every stage, and streams that were silent or busy; nothing may stay, and no half of a file.
TEST(Raw, DisconnectsDuringTransfersAndStreams) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, to look at the descriptors of the daemon";
    const e2e::Folder dir;
    healthy();
    const std::size_t before = daemon().descriptors();
    const std::string content(5000, 'x');
    const std::vector<std::string> uploads = {
        call("files?path=" + dir / "raw", content, "application/octet-stream"),
        "POST /files?path=" + dir / "chunked" +
            " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3cret\r\nContent-Type: "
            "application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n" +
            content + "\r\n0\r\n\r\n",
        request("POST", "/write_file", R"({"path":")" + dir / "json" + R"(","content":")" + content + "\"}")};
    for (const std::string& whole : uploads)
        for (std::size_t length = 1; length < whole.size(); length += 97) {
            RawSocket socket(daemon().port());
            socket.send(std::string_view(whole).substr(0, length));
            if (length % 2 == 0) socket.reset();
        }
    Sandbox sandbox = e2e::connect();
    LaunchOptions options;
    options.open_stdin = true;
    const std::string silent = sandbox.launch_process("sleep 1000", options);
    const std::string busy = sandbox.launch_process("yes", options);
    const std::vector<std::pair<std::string, std::string>> streams = {
        {request("GET", "/process_logs_streaming?id=" + silent, ""), "\r\n\r\n"},
        {request("GET", "/process_logs_streaming?id=" + busy, ""), "\"y\""},
        {call("filesystem.Filesystem/WatchDir", envelope(R"({"path":")" + dir.path() + "\"}"),
              "application/connect+json"),
         "start"},
        {request("POST", "/run_streaming", R"({"cmd":"cat","stdin":true})"), "event: start"},
        {request("POST", "/run_streaming", R"({"cmd":"sleep 1000","tty":true})"), "event: start"},
        // More than a pipe takes: held up until the sender leaves.
        {request("POST", "/send_stdin",
                 R"({"id":")" + silent + R"(","data":")" + std::string(200'000, 'x') + "\"}"),
         ""}};
    for (const auto& [bytes, sign] : streams)
        for (const bool reset : {false, true}) {
            RawSocket socket(daemon().port());
            socket.send(bytes);
            if (!sign.empty()) {
                EXPECT_NE(socket.read_until(sign).find(sign), std::string::npos) << sign;
            }
            if (reset) socket.reset();
        }
    EXPECT_EQ(sandbox.kill_all_processes(), 2);
    EXPECT_TRUE(eventually([] { return daemon().offspring().empty(); }));
    EXPECT_TRUE(eventually([before] { return daemon().descriptors() <= before + 2; }))
        << before << " before, " << daemon().descriptors() << " now";
    EXPECT_TRUE(sandbox.filesystem().ls(dir.path()).empty()) << "half a file";
    EXPECT_TRUE(healthy());
}

TEST(OtherClients, CurlAgrees) {
    if (!e2e::has_program("curl")) GTEST_SKIP() << "curl is not installed";
    const e2e::Folder dir;
    const auto curl = [](const std::string& path, const std::string& body) {
        return e2e::run_program({"curl", "-sS", "-H", "Authorization: Bearer s3cret", "--data-binary", "@-",
                                 daemon().url() + path},
                                {}, body);
    };
    EXPECT_EQ(curl("/run", R"({"cmd":"echo hi; exit 4"})").out,
              "{\"stdout\":\"hi\\n\",\"stderr\":\"\",\"error\":\"Non-zero exit code\",\"code\":4}\n");
    EXPECT_EQ(curl("/write_file", R"({"path":")" + dir / "c" + R"(","content":"from curl \u20ac"})").out,
              "{\"success\":true}\n");
    Filesystem fs = e2e::connect().filesystem();
    EXPECT_EQ(fs.read_bytes(dir / "c"), "from curl \xE2\x82\xAC");
    fs.write_file(dir / "c", "from the SDK \xE2\x82\xAC");
    EXPECT_NE(curl("/read_file", R"({"path":")" + dir / "c" + R"("})").out.find("from the SDK \xE2\x82\xAC"),
              std::string::npos);
    const std::string events = curl("/run_streaming", R"({"cmd":"echo one; echo two >&2"})").out;
    EXPECT_NE(events.find("event: output\ndata: {\"data\":\"one\",\"stream\":\"stdout\"}\n\n"),
              std::string::npos)
        << events;
    EXPECT_NE(events.find("event: complete\ndata: {\"code\":0,\"error\":false}\n\n"), std::string::npos)
        << events;
}

TEST(OtherClients, NodeAgrees) {
    if (!e2e::has_program("node")) GTEST_SKIP() << "node is not installed";
    const std::string script = R"(
const call = async (path, body) => {
  const answer = await fetch(process.env.SANDBOX_URL + path, {method: "POST", body: JSON.stringify(body),
      headers: {authorization: "Bearer " + process.env.SANDBOX_SECRET, "content-type": "application/json"}});
  return answer.json();
};
(async () => {
  const ran = await call("/run", {cmd: "printf '\\303\\251\\377'", encoding: "base64"});
  console.log(Buffer.from(ran.stdout, "base64").toString("hex"), ran.code);
  const started = await call("/start_process", {cmd: "sleep 1000"});
  console.log(typeof started.pid, started.status, (await call("/kill_process", {id: started.id})).success);
})();
)";
    const e2e::Ran ran = e2e::run_program({"node", "-e", script}, daemon().client_variables());
    EXPECT_EQ(ran.out, "c3a9ff 0\nnumber running true\n") << ran.err;
}

}  // namespace
