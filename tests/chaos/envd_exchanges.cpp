// The exchanges of the envd dialect.

#include <gtest/gtest.h>

#include <array>
#include <filesystem>

#include "census.hpp"
#include "exchanges.hpp"
#include "traces.hpp"

namespace sandbox::chaos {
namespace {

namespace fs = std::filesystem;

const std::string kToken = " HTTP/1.1\r\nHost: h\r\nX-Access-Token: s\r\n";

std::string envelope(const std::string& json) {
    const auto size = static_cast<unsigned>(json.size());
    const char head[] = {0, static_cast<char>(size >> 24U), static_cast<char>(size >> 16U),
                         static_cast<char>(size >> 8U), static_cast<char>(size)};
    return std::string(head, sizeof head) + json;
}

std::string base64(const std::string& bytes) {
    constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (std::size_t at = 0; at < bytes.size(); at += 3) {
        unsigned group = 0;
        for (std::size_t i = 0; i < 3; ++i)
            group = group << 8U | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0U);
        for (std::size_t i = 0; i < 4; ++i)
            text += at + i > bytes.size() ? '=' : kDigits[group >> (18U - 6U * i) & 63U];
    }
    return text;
}

auto fixed(const std::string& bytes) {
    return [=](int) { return bytes; };
}

}  // namespace

std::string Stage::rpc(const std::string& method, const std::string& json, bool stream) const {
    const std::string body = stream ? envelope(json) : json;
    return "POST /" + method + kToken + "Content-Type: application/" + (stream ? "connect+json" : "json") +
           "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

Exchange Stage::envd(const std::string& name, std::function<std::string(int)> request,
                     const std::string& expected, std::function<Effect(int)> effect) const {
    Part part;
    part.request = std::move(request);
    part.expected = expected;
    part.effect = std::move(effect);
    return {"envd_" + name, envd_port_, {part}};
}

std::vector<Exchange> Stage::envd_exchanges() {
    std::vector<Exchange> list;
    add_envd_processes(list);
    add_envd_files(list);
    add_envd_changes(list);
    add_envd_watches(list);
    add_envd_settings(list);
    return list;
}

void Stage::add_envd_processes(std::vector<Exchange>& list) {
    list.push_back(envd("list", fixed(rpc("process.Process/List", "{}")), "\"processes\""));
    Exchange started = envd(
        "start",
        [this](int n) {
            return rpc(
                "process.Process/Start",
                R"({"process":{"cmd":"/bin/sh","args":["-c","echo x>)" + trace("envd_start", n) + "\"]}}",
                true);
        },
        "exit status 0", [this](int n) { return file_effect(trace("envd_start", n), "x\n"); });
    started.parts[0].must_happen = true;
    list.push_back(started);

    const std::string selector = R"("process":{"pid":)" + std::to_string(running_.pid) + "}";
    const std::string process = "{" + selector + "}";
    Exchange connected = envd("connect", fixed(rpc("process.Process/Connect", process, true)), "");
    connected.endless = true;
    connected.until = "\"start\"";
    list.push_back(connected);
    list.push_back(envd("update", fixed(rpc("process.Process/Update", process)), "{}"));

    auto input = [](int n) { return R"("input":{"stdin":")" + base64(six_digits(n) + "\n") + "\"}"; };
    auto send = [=, this](int n) {
        return rpc("process.Process/SendInput", "{" + selector + "," + input(n) + "}");
    };
    list.push_back(input_exchange("envd_send_input", send, "{}"));
    // A stream of messages whose last one is the line.
    auto stream = [=](int n) {
        const std::string body = envelope("{\"start\":" + process + "}") + envelope(R"({"keepalive":{}})") +
                                 envelope("{\"data\":{" + input(n) + "}}");
        return "POST /process.Process/StreamInput" + kToken +
               "Content-Type: application/connect+json\r\nContent-Length: " + std::to_string(body.size()) +
               "\r\n\r\n" + body;
    };
    list.push_back(input_exchange("envd_stream_input", stream, "{}"));
    for (const char* name : {"envd_send_input", "envd_stream_input"}) {
        for (Exchange& exchange : list)
            if (exchange.name == name) exchange.port = envd_port_;
    }

    for (const auto& [name, command, more, told] :
         {std::array{"SendSignal", R"("cmd":"exec sleep 1000")", R"(,"signal":"SIGNAL_SIGTERM")",
                     R"("signal":"SIGTERM")"},
          std::array{"CloseStdin", R"("cmd":"exec cat","stdin":true)", "", R"("status":"completed")"}}) {
        auto request = [method = std::string("process.Process/") + name, end = std::string(more),
                        this](const Process& to) {
            return rpc(method, R"({"process":{"tag":")" + to.tag + "\"}" + end + "}");
        };
        const bool by_itself = name == std::string("CloseStdin");
        list.push_back(target_exchange(name, command, request, told, by_itself));
        list.back().port = envd_port_;
    }
}

void Stage::add_envd_files(std::vector<Exchange>& list) {
    const std::string small = directory_ / "small";
    const std::string large = directory_ / "large";
    list.push_back(
        envd("stat", fixed(rpc("filesystem.Filesystem/Stat", R"({"path":")" + small + "\"}")), "\"size\""));
    list.push_back(
        envd("list_dir", fixed(rpc("filesystem.Filesystem/ListDir", R"({"path":"/etc/ssl"})")), "certs"));
    list.push_back(envd("download", fixed("GET /files?path=" + small + kToken + "\r\n"), "small content\n"));
    list.push_back(envd("download_large", fixed("GET /files?path=" + large + kToken + "\r\n"),
                        std::string(600'000U, 'l')));
    list.back().large = true;
}

void Stage::add_envd_changes(std::vector<Exchange>& list) {
    list.push_back(envd(
        "make_dir",
        [this](int n) {
            return rpc("filesystem.Filesystem/MakeDir", R"({"path":")" + trace("envd_mkdir", n) + "\"}");
        },
        "\"entry\"", [this](int n) { return gone_effect(fs::is_directory(trace("envd_mkdir", n))); }));
    Exchange move = envd(
        "move",
        [this](int n) {
            return rpc("filesystem.Filesystem/Move", R"({"source":")" + trace("envd_move", n) +
                                                         R"(","destination":")" + trace("envd_move", n) +
                                                         ".to\"}");
        },
        "\"entry\"",
        [this](int n) {
            const std::string at = trace("envd_move", n);
            return fs::exists(at) == fs::exists(at + ".to") ? Effect::torn
                                                            : file_effect(at + ".to", "content");
        });
    move.prepare = [this](int n, bool) { put(trace("envd_move", n), "content"); };
    list.push_back(move);
    Exchange remove = envd(
        "remove",
        [this](int n) {
            return rpc("filesystem.Filesystem/Remove", R"({"path":")" + trace("envd_remove", n) + "\"}");
        },
        "{}", [this](int n) { return gone_effect(!fs::exists(trace("envd_remove", n))); });
    remove.prepare = [this](int n, bool) { put(trace("envd_remove", n), "content"); };
    list.push_back(remove);

    Exchange upload = envd(
        "upload",
        [this](int n) {
            const std::string body =
                "--b\r\nContent-Disposition: form-data; name=\"file\"; "
                "filename=\"f\"\r\n\r\nnew\r\n--b--\r\n";
            return "POST /files?path=" + trace("envd_upload", n) + kToken +
                   "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: " +
                   std::to_string(body.size()) + "\r\n\r\n" + body;
        },
        "\"path\"", [this](int n) { return file_effect(trace("envd_upload", n), "new", "old content"); });
    upload.parts[0].surplus = 2;  // the line break behind the last boundary
    upload.prepare = [this](int n, bool) { put(trace("envd_upload", n), "old content"); };
    list.push_back(upload);

    Exchange compose = envd(
        "compose",
        [this](int n) {
            const std::string at = trace("envd_compose", n);
            const std::string json =
                R"({"source_paths":[")" + at + R"(.1",")" + at + R"(.2"],"destination":")" + at + "\"}";
            return "POST /files/compose" + kToken +
                   "Content-Type: application/json\r\nContent-Length: " + std::to_string(json.size()) +
                   "\r\n\r\n" + json;
        },
        "\"path\"",
        [this](int n) {
            const std::string at = trace("envd_compose", n);
            const auto sources =
                static_cast<int>(fs::exists(at + ".1")) + static_cast<int>(fs::exists(at + ".2"));
            const Effect effect = file_effect(at, "onetwo");
            return sources == (effect == Effect::absent ? 2 : 0) ? effect : Effect::torn;
        });
    compose.prepare = [this](int n, bool) {
        put(trace("envd_compose", n) + ".1", "one");
        put(trace("envd_compose", n) + ".2", "two");
    };
    list.push_back(compose);
}

std::string Stage::create_watcher() const {
    const std::string answer = ask_envd(rpc("filesystem.Filesystem/CreateWatcher", R"({"path":"/etc/ssl"})"));
    std::string id = json_text(answer, "watcherId");
    EXPECT_FALSE(id.empty()) << answer;
    return id;
}

void Stage::add_envd_watches(std::vector<Exchange>& list) {
    list.push_back(
        envd("watch", fixed(rpc("filesystem.Filesystem/WatchDir", R"({"path":"/etc/ssl"})", true)), ""));
    list.back().endless = true;
    list.back().until = "\"start\"";

    auto message = [](const std::string& id) { return R"({"watcherId":")" + id + "\"}"; };
    auto polled = std::make_shared<std::string>();
    auto poll = [=, this](int) { return rpc("filesystem.Filesystem/GetWatcherEvents", message(*polled)); };
    list.push_back(envd("get_watcher_events", poll, "\"events\""));
    list.back().start = [=, this] { *polled = create_watcher(); };
    list.back().finish = [=, this] {
        ask_envd(rpc("filesystem.Filesystem/RemoveWatcher", message(*polled)));
    };

    // The daemon keeps a bounded number of watchers, so no more may live at once; one case at a time.
    auto own = std::make_shared<std::string>();
    auto remove = [=, this](int) { return rpc("filesystem.Filesystem/RemoveWatcher", message(*own)); };
    auto effect = [=, this](int) {
        const std::string answer = ask_envd(rpc("filesystem.Filesystem/GetWatcherEvents", message(*own)));
        return gone_effect(answer.find("not_found") != std::string::npos);
    };
    Exchange removing = envd("remove_watcher", remove, "{}", effect);
    removing.alone = true;
    removing.parts[0].must_happen = true;
    removing.start = [=, this] { *own = create_watcher(); };
    removing.prepare = [=, this](int, bool) {
        if (effect(0) == Effect::done) *own = create_watcher();
    };
    list.push_back(removing);

    list.push_back(envd("create_watcher",
                        fixed(rpc("filesystem.Filesystem/CreateWatcher", R"({"path":"/etc/ssl"})")),
                        "\"watcherId\""));
}

void Stage::add_envd_settings(std::vector<Exchange>& list) {
    list.push_back(envd("health", fixed("GET /health" + kToken + "\r\n"), ""));
    list.back().parts[0].status = 204;
    list.push_back(envd("envs", fixed("GET /envs" + kToken + "\r\n"), "E2B_SANDBOX"));
    list.push_back(envd("metrics", fixed("GET /metrics" + kToken + "\r\n"), "\"cpu_count\""));
    list.back().every = 9;  // each takes a tenth of a second

    Exchange init = envd(
        "init",
        [](int n) {
            const std::string json =
                R"({"envVars":{"A":")" + six_digits(n) + R"(","B":")" + six_digits(n) + "\"}}";
            return "POST /init" + kToken +
                   "Content-Type: application/json\r\nContent-Length: " + std::to_string(json.size()) +
                   "\r\n\r\n" + json;
        },
        "",
        [this](int n) {
            const std::string envs = ask_envd("GET /envs" + kToken + "\r\n");
            const bool first = json_text(envs, "A") == six_digits(n);
            const bool second = json_text(envs, "B") == six_digits(n);
            return first != second ? Effect::torn : gone_effect(first);
        });
    init.parts[0].status = 204;
    init.parts[0].must_happen = true;
    init.alone = true;
    list.push_back(init);
}

}  // namespace sandbox::chaos
