#include "exchanges.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>

#include "census.hpp"
#include "line.hpp"

namespace sandbox::chaos {
namespace {

namespace fs = std::filesystem;

std::string six_digits(int n) {
    char text[16];
    std::snprintf(text, sizeof text, "%06d", n);
    return text;
}

std::optional<std::string> content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return std::nullopt;
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

void put(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

// A file that is to hold `wanted`, and held `before` (nothing: was not there).
Effect file_effect(const std::string& path, const std::string& wanted,
                   const std::optional<std::string>& before = std::nullopt) {
    const auto found = content(path);
    if (found == before) return Effect::absent;
    return found == wanted ? Effect::done : Effect::torn;
}

Effect gone_effect(bool gone) { return gone ? Effect::done : Effect::absent; }

bool is_alive(pid_t pid) {
    const auto stat = content("/proc/" + std::to_string(pid) + "/stat");
    return stat && stat->find(") Z") == std::string::npos;
}

std::string json_text(const std::string& body, const std::string& name) {
    const std::string key = "\"" + name + "\":";
    std::size_t at = body.find(key);
    if (at == std::string::npos) return {};
    at += key.size();
    const bool quoted = body[at] == '"';
    if (quoted) ++at;
    return body.substr(at, body.find_first_of(quoted ? "\"" : ",}", at) - at);
}

}  // namespace

Stage::Stage(e2e::Daemon& daemon, int envd_port) : daemon_(daemon), envd_port_(envd_port) {
    running_ = start(R"({"cmd":"echo up; exec cat >)" + (directory_ / "stdin") + R"(","stdin":true})");
    put(directory_ / "small", "small content\n");
    put(directory_ / "large", std::string(600'000U, 'l'));
}

Stage::~Stage() { kill(running_); }

void Stage::make_history() const {
    for (int i = 0; i < (is_slow() ? 100 : 1000); ++i) start(R"({"cmd":":"})");
}

std::string Stage::post(const std::string& path, const std::string& json) const {
    return "POST " + path + " HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer s\r\nContent-Length: " +
           std::to_string(json.size()) + "\r\n\r\n" + json;
}

std::string Stage::get(const std::string& target) const {
    return "GET " + target + " HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer s\r\n\r\n";
}

std::string Stage::rpc(const std::string& method, const std::string& json, bool stream) const {
    std::string body = json;
    if (stream) {
        const auto size = static_cast<unsigned>(json.size());
        const char head[] = {0, static_cast<char>(size >> 24U), static_cast<char>(size >> 16U),
                             static_cast<char>(size >> 8U), static_cast<char>(size)};
        body.insert(0, head, sizeof head);
    }
    return "POST /" + method + " HTTP/1.1\r\nHost: h\r\nX-Access-Token: s\r\nContent-Type: application/" +
           (stream ? "connect+json" : "json") + "\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\n\r\n" + body;
}

std::string Stage::trace(const std::string& name, int n) const {
    return directory_ / (name + "-" + six_digits(n));
}

std::string Stage::ask(const std::string& request) const {
    const Line line = Line::connect(daemon_.port());
    std::string answer;
    line.send(request);
    while (test::AnswerReader(answer).complete() == 0 && line.receive(answer) == Line::End::none) continue;
    return answer;
}

Stage::Process Stage::start(const std::string& json) const {
    const std::string answer = ask(post("/start_process", json));
    const Process process{json_text(answer, "id"), std::atoi(json_text(answer, "pid").c_str())};
    EXPECT_GT(process.pid, 0) << answer;
    return process;
}

void Stage::kill(const Process& process) {
    if (process.pid > 0 && is_alive(process.pid)) ::kill(process.pid, SIGKILL);
}

// ---------------------------------------------------------------- the Koyeb dialect

std::vector<Exchange> Stage::koyeb_exchanges() {
    std::vector<Exchange> list;
    add_commands(list);
    add_processes(list);
    add_files(list);
    add_file_changes(list);
    add_others(list);
    for (Exchange& exchange : list) exchange.port = daemon_.port();
    return list;
}

void Stage::add_commands(std::vector<Exchange>& list) {
    // Commands that leave a trace; one whose client has left may be ended between opening and writing it.
    auto command = [&](const std::string& name, const std::string& path, const std::string& script,
                       const std::string& more, const std::string& expected) {
        Part part;
        part.request = [=, this](int n) {
            return post(path, R"({"cmd":")" + script + "echo x>" + trace(name, n) + "\"" + more + "}");
        };
        part.expected = expected;
        part.effect = [=, this](int n) { return file_effect(trace(name, n), "x\n"); };
        part.may_be_torn = true;
        return Exchange{name, 0, {part}};
    };
    list.push_back(command("run", "/run", "echo a;", "", R"({"stdout":"a\n","stderr":"","code":0})"));
    list.push_back(command("run_streaming", "/run_streaming", "echo a;echo b>&2;", "",
                           "event: complete\ndata: {\"code\":0,"));

    Exchange goes_on =
        command("run_continue", "/run", "sleep 0.05;", R"(,"on_disconnect":"continue")", "\"code\":0");
    goes_on.parts[0].must_happen = true;
    goes_on.parts[0].may_be_torn = false;
    list.push_back(goes_on);

    Exchange started = command("start_process", "/start_process", "", "", "\"success\":true");
    started.parts[0].status = 201;
    started.parts[0].must_happen = true;
    started.parts[0].may_be_torn = false;
    list.push_back(started);

    // Nothing of these may live on.
    auto endless = [&](const std::string& name, const std::string& path, const std::string& script,
                       const std::string& until) {
        Part part;
        part.request = [=, this](int) { return post(path, R"({"cmd":")" + script + "\"}"); };
        Exchange exchange{name, 0, {part}};
        exchange.endless = true;
        exchange.until = until;
        return exchange;
    };
    list.push_back(endless("run_endless", "/run", "sleep 1000", ""));
    list.push_back(endless("run_endless_tree", "/run", "sleep 1000 & sleep 1000", ""));
    list.push_back(endless("run_streaming_endless", "/run_streaming", "echo a; sleep 1000", "\"a\""));
    list.push_back(endless("run_streaming_flood", "/run_streaming", "yes", "\"y\""));
    list.back().large = true;
    list.back().every = 9;

    Part input;
    const std::string text(300'000, 'i');
    input.request = [=, this](int n) {
        return post("/run", R"({"cmd":"cat >)" + trace("run_stdin", n) + R"(","stdin":")" + text + "\"}");
    };
    input.expected = "\"code\":0";
    input.effect = [=, this](int n) { return file_effect(trace("run_stdin", n), text); };
    input.may_be_torn = true;
    Exchange with_input{"run_stdin", 0, {input}};
    with_input.large = true;
    with_input.every = 2;
    list.push_back(with_input);

    Part output;
    output.request = [this](int) { return post("/run", R"({"cmd":"head -c 600000 /dev/zero|tr '\\0' o"})"); };
    output.expected = "\",\"stderr\":\"\",\"code\":0}";
    Exchange with_output{"run_output", 0, {output}};
    with_output.large = true;
    with_output.every = 4;
    list.push_back(with_output);

    // Until the end of the connection, as HTTP/1.0 has it.
    Exchange old = command("run_streaming_1.0", "/run_streaming", "echo a;", "", "event: complete");
    old.parts[0].request = [request = old.parts[0].request](int n) {
        std::string bytes = request(n);
        bytes.replace(bytes.find("HTTP/1.1"), 8, "HTTP/1.0");
        return bytes;
    };
    list.push_back(old);
}

// A signal or an end for a process: one that is always the same when it must not arrive, else a new one.
// `told` is what the daemon says of a process that was reached.
void Stage::add_targets(std::vector<Exchange>& list, const std::string& name, const std::string& members,
                        const std::string& told) {
    auto targets = std::make_shared<std::map<int, Process>>();
    auto spared = std::make_shared<Process>();
    const std::string script = R"({"cmd":"exec sleep 1000"})";
    Part part;
    part.request = [=, this](int n) {
        const auto target = targets->find(n);
        const std::string id = target == targets->end() ? std::string(36, '0') : target->second.id;
        return post("/" + name, "{\"id\":\"" + id + "\"" + members + "}");
    };
    part.expected = "\"success\":true";
    part.effect = [=, this](int n) {
        const std::string answer = ask(get("/get_process?id=" + targets->at(n).id));
        EXPECT_NE(answer.find("\"exit_code\""), std::string::npos) << answer;
        return gone_effect(answer.find(told) != std::string::npos);
    };
    Exchange exchange{name, 0, {part}};
    exchange.every = 3;
    exchange.prepare = [=, this](int n, bool sent) {
        if (!sent && !is_alive(spared->pid)) *spared = start(script);
        (*targets)[n] = sent ? start(script) : *spared;
    };
    // By SIGKILL, which is nobody else's here.
    exchange.finish = [=] {
        for (const auto& [n, process] : *targets) kill(process);
    };
    list.push_back(exchange);
}

void Stage::add_processes(std::vector<Exchange>& list) {
    auto look = [&](const std::string& name, const std::string& target, const std::string& expected) {
        Part part;
        part.request = [=, this](int) { return get(target); };
        part.expected = expected;
        return Exchange{name, 0, {part}};
    };
    Exchange all = look("list_processes", "/list_processes", running_.id);
    all.large = true;
    list.push_back(all);
    list.push_back(look("get_process", "/get_process?id=" + running_.id, "\"status\":\"running\""));
    Exchange logs = look("logs", "", "stream ended");
    logs.parts[0].request = [this](int) { return get("/process_logs_streaming?id=" + ended_.id); };
    logs.start = [this] {
        ended_ = start(R"({"cmd":"echo one; echo two >&2; echo three"})");
        comes_to_pass([this] { return !is_alive(ended_.pid); });
    };
    list.push_back(logs);
    list.push_back(look("logs_present", "/process_logs_streaming?follow=false&id=" + running_.id, "\"up\""));
    Exchange follow = look("logs_follow", "/process_logs_streaming?id=" + running_.id, "");
    follow.endless = true;
    follow.until = "\"up\"";
    list.push_back(follow);
    add_targets(list, "kill_process", "", R"("status":"killed")");
    add_targets(list, "signal_process", R"(,"signal":"SIGTERM")", R"("signal":"SIGTERM")");

    Part input;
    input.request = [this](int n) {
        return post("/send_stdin", R"({"id":")" + running_.id + R"(","data":")" + six_digits(n) + R"(\n"})");
    };
    input.expected = R"("success":true,"bytes":7)";
    input.effect = [this](int n) {
        const std::string lines = "\n" + content(directory_ / "stdin").value_or("");
        if (lines.size() % 7 != 1) return Effect::torn;
        return gone_effect(lines.find("\n" + six_digits(n) + "\n") != std::string::npos);
    };
    Exchange sending{"send_stdin", 0, {input}};
    // What was sent before is in the file when this is; another number each time.
    sending.finish = [this, request = input.request, last = 1'000'000]() mutable {
        ask(request(--last));
        const std::string end = six_digits(last) + "\n";
        EXPECT_TRUE(comes_to_pass([&] { return content(directory_ / "stdin").value_or("").ends_with(end); }));
    };
    list.push_back(sending);
}

void Stage::add_files(std::vector<Exchange>& list) {
    auto look = [&](const std::string& name, const std::string& json, const std::string& expected) {
        Part part;
        part.request = [=, this](int) { return post("/" + name, json); };
        part.expected = expected;
        return Exchange{name, 0, {part}};
    };
    const std::string small = R"({"path":")" + (directory_ / "small") + "\"}";
    list.push_back(look("read_file", small, R"({"content":"small content\n","encoding":"utf-8"})"));
    Exchange large =
        look("read_file", R"({"path":")" + (directory_ / "large") + "\"}", std::string(600'000U, 'l'));
    large.name = "read_file_large";
    large.large = true;
    list.push_back(large);
    list.push_back(look("stat", small, "\"size\":14"));
    list.push_back(look("list_dir", R"({"path":"/etc/ssl"})", "\"certs\""));

    // Uploads in several shapes. The old content stays unless all of the new one has come.
    auto write = [&](const std::string& name, const std::string& members, const std::string& text,
                     std::optional<std::string> before, const std::string& after) {
        Part part;
        part.request = [=, this](int n) {
            return post("/write_file",
                        R"({"path":")" + trace(name, n) + R"(","content":")" + text + "\"" + members + "}");
        };
        part.expected = "{\"success\":true}";
        part.effect = [=, this](int n) { return file_effect(trace(name, n), after, before); };
        Exchange exchange{name, 0, {part}};
        if (before) exchange.prepare = [=, this](int n, bool) { put(trace(name, n), *before); };
        return exchange;
    };
    list.push_back(write("write_new", "", "new", std::nullopt, "new"));
    list.push_back(write("write_replace", "", "new", "old content", "new"));
    list.push_back(write("write_append", R"(,"append":true)", "new", "old ", "old new"));
    list.push_back(write("write_base64", R"(,"encoding":"base64")", "bmV3", std::nullopt, "new"));
    const std::string text(700'000, 'w');
    Exchange upload = write("write_large", "", text, "old content", text);
    upload.large = true;
    list.push_back(upload);

    Exchange chunked = write("write_chunked", "", "new", "old content", "new");
    chunked.parts[0].request = [this](int n) {
        const std::string json = R"({"path":")" + trace("write_chunked", n) + R"(","content":"new"})";
        char size[16];
        std::snprintf(size, sizeof size, "%zx", json.size() - 9);
        return "POST /write_file HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer s\r\nTransfer-Encoding: "
               "chunked\r\n\r\n9\r\n" +
               json.substr(0, 9) + "\r\n" + size + "\r\n" + json.substr(9) + "\r\n0\r\n\r\n";
    };
    list.push_back(chunked);
    Exchange expecting = write("write_expecting", "", "new", "old content", "new");
    expecting.parts[0].request = [request = expecting.parts[0].request](int n) {
        std::string bytes = request(n);
        return bytes.insert(bytes.find("Content-Length"), "Expect: 100-continue\r\n");
    };
    list.push_back(expecting);
}

void Stage::add_file_changes(std::vector<Exchange>& list) {
    auto change = [&](const std::string& name, std::function<std::string(int)> json,
                      std::function<void(const std::string&)> prepare,
                      std::function<Effect(const std::string&)> effect) {
        Part part;
        part.request = [=, this](int n) { return post("/" + name, json(n)); };
        part.expected = "\"success\":true";
        part.effect = [=, this](int n) { return effect(trace(name, n)); };
        Exchange exchange{name, 0, {part}};
        if (prepare) exchange.prepare = [=, this](int n, bool) { prepare(trace(name, n)); };
        list.push_back(exchange);
    };
    auto path = [this](const std::string& name) {
        return [=, this](int n) { return R"({"path":")" + trace(name, n) + "\"}"; };
    };
    auto two_paths = [this](const std::string& name) {
        return [=, this](int n) {
            return R"({"source":")" + trace(name, n) + R"(","destination":")" + trace(name, n) + ".to\"}";
        };
    };
    auto file = [](const std::string& at) { put(at, "content"); };
    change("delete_file", path("delete_file"), file,
           [](const std::string& at) { return gone_effect(!fs::exists(at)); });
    change("make_dir", path("make_dir"), nullptr,
           [](const std::string& at) { return gone_effect(fs::is_directory(at)); });
    auto tree = [](const std::string& at) {
        fs::create_directories(at + "/a/b");
        for (const char* name : {"/1", "/a/2", "/a/b/3"}) put(at + name, "content");
    };
    change("delete_dir", path("delete_dir"), tree, [](const std::string& at) {
        if (!fs::exists(at)) return Effect::done;
        return fs::exists(at + "/1") && fs::exists(at + "/a/2") && fs::exists(at + "/a/b/3") ? Effect::absent
                                                                                             : Effect::torn;
    });
    change("move", two_paths("move"), file, [](const std::string& at) {
        if (fs::exists(at) == fs::exists(at + ".to")) return Effect::torn;
        return file_effect(at + ".to", "content");
    });
    change("copy", two_paths("copy"), tree, [](const std::string& at) {
        if (!fs::exists(at + ".to")) return Effect::absent;
        return content(at + ".to/a/b/3") == "content" && content(at + ".to/1") == "content" ? Effect::done
                                                                                            : Effect::torn;
    });
}

void Stage::add_others(std::vector<Exchange>& list) {
    auto plain = [&](const std::string& name, const std::string& bytes, int status,
                     const std::string& expected) {
        Part part;
        part.request = [=](int) { return bytes; };
        part.status = status;
        part.expected = expected;
        return Exchange{name, 0, {part}};
    };
    list.push_back(plain("health", "GET /health HTTP/1.1\r\nHost: h\r\n\r\n", 200, R"({"status":"ok"})"));
    list.push_back(plain("metrics", get("/metrics"), 200, "sandbox_http_connections"));
    list.push_back(plain("bind_port", post("/bind_port", R"({"port":"9"})"), 200, "\"port\":\"9\""));
    list.push_back(plain("unbind_port", post("/unbind_port", "{}"), 200, "removed"));
    list.push_back(plain("unauthorized", "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n", 401, "Unauthorized"));
    list.push_back(plain("not_found", get("/nothing"), 404, "404"));
    list.push_back(plain("bad_json", post("/run", "{\"cmd\":}"), 400, "Invalid request"));
    list.push_back(plain("bad_head", "GET /health HTTP/1.1\r\nHost h\r\n\r\n", 400, "Bad Request"));
    Exchange document = plain("openapi", get("/openapi.json"), 200, "\"openapi\"");
    document.large = true;
    list.push_back(document);

    // Several requests at once, each but the first with a trace of its own.
    Exchange pipelined{"pipelined", 0, {}};
    pipelined.parts.push_back(plain("", get("/koyeb-sandbox/health"), 200, "ok").parts[0]);
    for (const Exchange& exchange : list) {
        const bool wanted =
            exchange.name == "run" || exchange.name == "write_new" || exchange.name == "make_dir";
        if (wanted) pipelined.parts.push_back(exchange.parts[0]);
    }
    list.push_back(pipelined);
}

// ---------------------------------------------------------------- the envd dialect

std::vector<Exchange> Stage::envd_exchanges() {
    std::vector<Exchange> list;
    auto add = [&](const std::string& name, std::function<std::string(int)> request,
                   const std::string& expected, std::function<Effect(int)> effect = nullptr) -> Exchange& {
        Part part;
        part.request = std::move(request);
        part.expected = expected;
        part.effect = std::move(effect);
        Exchange exchange{"envd_" + name, envd_port_, {part}};
        list.push_back(exchange);
        return list.back();
    };
    auto fixed = [](const std::string& bytes) { return [=](int) { return bytes; }; };
    const std::string token = " HTTP/1.1\r\nHost: h\r\nX-Access-Token: s\r\n";
    add("health", fixed("GET /health" + token + "\r\n"), "").parts[0].status = 204;
    add("envs", fixed("GET /envs" + token + "\r\n"), "E2B_SANDBOX");
    add("list", fixed(rpc("process.Process/List", "{}")), "\"processes\"");
    const std::string small = directory_ / "small";
    add("stat", fixed(rpc("filesystem.Filesystem/Stat", R"({"path":")" + small + "\"}")), "\"size\"");
    add("list_dir", fixed(rpc("filesystem.Filesystem/ListDir", R"({"path":"/etc/ssl"})")), "certs");
    add("download", fixed("GET /files?path=" + small + token + "\r\n"), "small content\n");
    Exchange& large =
        add("download_large", fixed("GET /files?path=" + (directory_ / "large") + token + "\r\n"),
            std::string(600'000U, 'l'));
    large.large = true;

    add(
        "make_dir",
        [this](int n) {
            return rpc("filesystem.Filesystem/MakeDir", R"({"path":")" + trace("envd_mkdir", n) + "\"}");
        },
        "\"entry\"", [this](int n) { return gone_effect(fs::is_directory(trace("envd_mkdir", n))); });
    Exchange& move = add(
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
    Exchange& remove = add(
        "remove",
        [this](int n) {
            return rpc("filesystem.Filesystem/Remove", R"({"path":")" + trace("envd_remove", n) + "\"}");
        },
        "{}", [this](int n) { return gone_effect(!fs::exists(trace("envd_remove", n))); });
    remove.prepare = [this](int n, bool) { put(trace("envd_remove", n), "content"); };

    Exchange& upload = add(
        "upload",
        [this, token](int n) {
            const std::string body =
                "--b\r\nContent-Disposition: form-data; name=\"file\"; "
                "filename=\"f\"\r\n\r\nnew\r\n--b--\r\n";
            return "POST /files?path=" + trace("envd_upload", n) + token +
                   "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: " +
                   std::to_string(body.size()) + "\r\n\r\n" + body;
        },
        "\"path\"", [this](int n) { return file_effect(trace("envd_upload", n), "new", "old content"); });
    upload.parts[0].surplus = 2;  // the line break behind the last boundary
    upload.prepare = [this](int n, bool) { put(trace("envd_upload", n), "old content"); };

    Exchange& started = add(
        "start",
        [this](int n) {
            return rpc(
                "process.Process/Start",
                R"({"process":{"cmd":"/bin/sh","args":["-c","echo x>)" + trace("envd_start", n) + "\"]}}",
                true);
        },
        "exit status 0", [this](int n) { return file_effect(trace("envd_start", n), "x\n"); });
    started.parts[0].must_happen = true;

    const std::string pid = R"({"process":{"pid":)" + std::to_string(running_.pid) + "}}";
    Exchange& connected = add("connect", fixed(rpc("process.Process/Connect", pid, true)), "");
    connected.endless = true;
    connected.until = "\"start\"";
    Exchange& watching =
        add("watch", fixed(rpc("filesystem.Filesystem/WatchDir", R"({"path":"/etc/ssl"})", true)), "");
    watching.endless = true;
    watching.until = "\"start\"";
    return list;
}

}  // namespace sandbox::chaos
