// Raw transfers, watches and input against a server that breaks off, refuses, and cuts where it likes.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "fake_server.hpp"
#include "koyeb/sandbox/sandbox.hpp"
#include "support/folder.hpp"

namespace koyeb::sandbox {
namespace {

using fake::Peer;
using fake::Request;
using fake::Server;

class TempFile {
  public:
    explicit TempFile(const std::string& content) { std::ofstream(path(), std::ios::binary) << content; }
    std::string path() const { return folder_ / "file"; }
    std::string content() const {
        std::ifstream file(path(), std::ios::binary);
        std::ostringstream content;
        content << file.rdbuf();
        return content.str();
    }
    std::size_t neighbours() const {
        const auto all = std::filesystem::directory_iterator(folder_.path());
        return static_cast<std::size_t>(std::distance(begin(all), end(all)));
    }

  private:
    ::sandbox::test::Folder folder_;
};

std::string pattern(std::size_t size) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 2654435761U >> 11U);
    return bytes;
}

// What an upload or download asks besides: whose files are, and what is there.
bool answer_facts(Peer& peer, const Request& request) {
    if (request.target == "/stat" && request.body.find("\"/new") == std::string::npos) {
        peer.answer(200, R"({"success":true,"type":"directory","mode":"0755","size":5,"user":"root"})");
    } else if (request.target == "/stat") {
        peer.answer(200, R"({"error":"stat /new: no such file or directory"})");
    } else if (request.target == "/read_file") {
        // Uid:	0	…
        peer.answer(200, R"({"content":"TmFtZToJZApVaWQ6CTAJMAkwCTAK","encoding":"base64"})");
    } else if (request.target == "/write_file") {
        peer.answer(200, R"({"success":true})");
    } else {
        return false;
    }
    return true;
}

TEST(Upload, IsSentAgainAfter503AndKeepsModeAndOwner) {
    const std::string bytes = pattern(3'000'000);
    const TempFile file(bytes);
    std::atomic<int> uploads = 0;
    std::atomic<int> whole = 0;
    Server server([&](Peer& peer, const Request& request) {
        if (answer_facts(peer, request)) return true;
        if (request.body == bytes) ++whole;
        if (++uploads < 3)
            peer.answer(503, R"({"message":"starting","code":503})");
        else
            peer.answer(200, R"([{"name":"new"}])");
        return true;
    });
    std::uint64_t done = 0;
    Sandbox::connect(server.info())
        .filesystem()
        .upload_file(file.path(), "/new", [&done](std::uint64_t now, std::uint64_t total) {
            done = now;
            EXPECT_EQ(total, 3'000'000U);
        });
    EXPECT_EQ(done, bytes.size());
    EXPECT_EQ(whole, 3);
    const std::vector<Request> seen = server.seen();
    EXPECT_EQ(seen.back().target, "/write_file");
    EXPECT_NE(seen.back().body.find("\"append\":true"), std::string::npos);
    EXPECT_NE(seen.back().body.find("\"mode\":420"), std::string::npos) << seen.back().body;
    const Request& upload = seen[seen.size() - 2];
    EXPECT_EQ(upload.target, "/files?path=%2Fnew&username=root");
    EXPECT_EQ(upload.headers.at("content-type"), "application/octet-stream");
}

TEST(Upload, Refused) {
    const TempFile file(pattern(2'000'000));
    Server server([](Peer& peer, const Request& request) {
        if (!answer_facts(peer, request))
            peer.answer(507, R"({"message":"not enough disk space","code":507})");
        return true;
    });
    try {
        Sandbox::connect(server.info()).filesystem().upload_file(file.path(), "/new");
        FAIL();
    } catch (const SandboxFilesystemError& error) {
        EXPECT_STREQ(error.what(), "not enough disk space");
    }
}

TEST(Download, GoesOnWhereAConnectionBroke) {
    const std::string bytes = pattern(1'000'000);
    std::atomic<int> bad_conditions = 0;
    Server server([&](Peer& peer, const Request& request) {
        if (request.target == "/stat") {
            peer.answer(200, R"({"success":true,"type":"file","mode":"0640","size":1000000})");
            return true;
        }
        std::size_t from = 0;
        const auto range = request.headers.find("range");
        if (range != request.headers.end()) {
            from = std::stoul(range->second.substr(range->second.find('=') + 1));
            if (request.headers.at("if-range") != "\"v1\"") ++bad_conditions;
        }
        peer.write("HTTP/1.1 " + std::string(from > 0 ? "206" : "200") +
                   " X\r\nETag: \"v1\"\r\nContent-Length: " + std::to_string(bytes.size() - from) +
                   "\r\n\r\n");
        peer.write(std::string_view(bytes).substr(from, 123'456));
        return bytes.size() - from <= 123'456;
    });
    const TempFile file("old");
    Sandbox::connect(server.info()).filesystem().download_file("/x", file.path());
    EXPECT_TRUE(file.content() == bytes);
    EXPECT_EQ(bad_conditions, 0);
    EXPECT_GT(server.connections(), 5);
    EXPECT_EQ(std::filesystem::status(file.path()).permissions(), std::filesystem::perms(0640));
}

TEST(Download, AFileThatChangesIsNotMixed) {
    Server server([](Peer& peer, const Request& request) {
        if (request.target == "/stat") {
            peer.answer(200, R"({"success":true,"type":"file","mode":"0644","size":10})");
            return true;
        }
        peer.write("HTTP/1.1 200 X\r\nETag: \"v" + std::to_string(request.number) +
                   "\"\r\nContent-Length: 10\r\n\r\n12345");
        return false;
    });
    const TempFile file("old");
    EXPECT_THROW(Sandbox::connect(server.info()).filesystem().download_file("/x", file.path()),
                 SandboxFilesystemError);
    EXPECT_EQ(file.content(), "old");
    EXPECT_EQ(file.neighbours(), 1U) << "no half-done file is left";
}

std::string envelope(const std::string& payload, char flags = 0) {
    const std::size_t size = payload.size();
    return {flags, '\0', '\0', static_cast<char>(size >> 8U), static_cast<char>(size & 255U)};
}

std::string message(const std::string& payload, char flags = 0) { return envelope(payload, flags) + payload; }

TEST(Watch, MessagesInAnyChunkingAndTheEnd) {
    const std::string events = message(R"({"start":{}})") + message(R"({"keepalive":{}})") +
                               message(R"({"filesystem":{"name":"a","type":"EVENT_TYPE_CREATE"}})") +
                               message(R"({"filesystem":{"name":"b","type":"EVENT_TYPE_FUTURE"}})") +
                               message(R"({"filesystem":{"name":"c/d","type":"EVENT_TYPE_RENAME"}})") +
                               message(R"({"error":{"code":"unavailable","message":"going"}})", 2);
    for (const std::size_t size : {std::size_t{1}, std::size_t{6}, events.size()}) {
        Server server([&events, size](Peer& peer, const Request&) {
            peer.write(
                "HTTP/1.1 200 OK\r\nContent-Type: application/connect+json\r\nTransfer-Encoding: "
                "chunked\r\n\r\n");
            for (std::size_t at = 0; at < events.size(); at += size)
                peer.chunk(std::string_view(events).substr(at, size));
            peer.end_chunks();
            return true;
        });
        Sandbox sandbox = Sandbox::connect(server.info());
        koyeb::sandbox::Watch watch = sandbox.filesystem().watch("/w", true);
        FileEvent event = watch.next();
        EXPECT_EQ(event.type, FileEventType::create);
        EXPECT_EQ(event.name, "a");
        event = watch.next();
        EXPECT_EQ(event.type, FileEventType::rename);
        EXPECT_EQ(event.name, "c/d");
        try {
            watch.next();
            FAIL();
        } catch (const SandboxServiceError& error) {
            EXPECT_EQ(error.status_code(), 503);
            EXPECT_STREQ(error.what(), "going");
        }
        const Request asked = server.seen().back();
        EXPECT_EQ(asked.target, "/filesystem.Filesystem/WatchDir");
        EXPECT_EQ(asked.body.substr(5), R"({"path":"/w","recursive":true})");
    }
}

TEST(Watch, CutOrRefused) {
    Server server([](Peer& peer, const Request& request) {
        if (request.number == 1) {
            peer.answer(200, message(R"({"error":{"code":"not_found","message":"path /w not found"}})", 2));
        } else if (request.number == 2) {
            peer.answer(404, "404 page not found\n");
        } else if (request.number == 3) {
            peer.answer(200, message(R"({"start":{}})"));
        } else {
            peer.answer(200, "\xFF\xFF\xFF\xFF\xFF garbage");
        }
        return true;
    });
    Filesystem fs = Sandbox::connect(server.info()).filesystem();
    EXPECT_THROW(fs.watch("/w"), SandboxFileNotFoundError);
    EXPECT_THROW(fs.watch("/w"), SandboxServiceError);
    koyeb::sandbox::Watch cut = fs.watch("/w");
    EXPECT_THROW(cut.next(), SandboxServiceError);
    EXPECT_THROW(fs.watch("/w"), SandboxServiceError);
}

TEST(Input, OnServersThatTakeNone) {
    for (const bool extras : {false, true}) {
        Server server([extras](Peer& peer, const Request& request) {
            if (request.target == "/stat") {
                peer.answer(extras ? 200 : 404, extras ? R"({"success":true})" : "404 page not found\n");
                return true;
            }
            peer.begin_events();
            peer.chunk("event: output\ndata: {\"data\":\"x\",\"stream\":\"stdout\"}\n\n");
            peer.wait_closed();
            return false;
        });
        Sandbox sandbox = Sandbox::connect(server.info());
        EXPECT_THROW(sandbox.pty("sh"), SandboxCommandError) << extras;
    }
}

TEST(Input, GoesToTheCommandOfTheStream) {
    Server server([](Peer& peer, const Request& request) {
        if (request.target == "/stat" || request.target == "/send_stdin") {
            peer.answer(200, R"({"success":true,"bytes":1})");
            return true;
        }
        peer.begin_events();
        peer.chunk("event: start\ndata: {\"id\":\"the-id\",\"pid\":42}\n\n");
        peer.chunk("event: output\ndata: {\"data\":\"eA==\",\"stream\":\"pty\",\"encoding\":\"base64\"}\n\n");
        peer.chunk("event: complete\ndata: {\"code\":0,\"error\":false}\n\n");
        peer.end_chunks();
        return true;
    });
    Sandbox sandbox = Sandbox::connect(server.info());
    PtyOptions options;
    options.size = {100, 50};
    CommandStream stream = sandbox.pty("sh", options);
    EXPECT_EQ(stream.id(), "the-id");
    EXPECT_EQ(stream.pid(), 42);
    stream.write(std::string("\0\xFF", 2));
    stream.resize({10, 20});
    EXPECT_EQ(stream.next()->data, "x");
    EXPECT_FALSE(stream.next());
    const std::vector<Request> seen = server.seen();
    EXPECT_NE(seen[1].body.find(R"("cols":100)"), std::string::npos) << seen[1].body;
    EXPECT_NE(seen[1].body.find(R"("tty":true)"), std::string::npos) << seen[1].body;
    EXPECT_NE(seen[2].body.find(R"("data":"AP8=","encoding":"base64","id":"the-id")"), std::string::npos)
        << seen[2].body;
    EXPECT_NE(seen[3].body.find(R"("cols":10)"), std::string::npos) << seen[3].body;
}

}  // namespace
}  // namespace koyeb::sandbox
