#include "exchanges.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>

#include "census.hpp"
#include "line.hpp"
#include "traces.hpp"

namespace sandbox::chaos {
namespace {

namespace fs = std::filesystem;

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

std::string Stage::trace(const std::string& name, int n) const {
    return directory_ / (name + "-" + six_digits(n));
}

std::string Stage::ask(const std::string& request, int port) const {
    const Line line = Line::connect(port == 0 ? daemon_.port() : port);
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

std::vector<Exchange> Stage::koyeb_exchanges() {
    std::vector<Exchange> list;
    add_commands(list);
    add_processes(list);
    add_files(list);
    add_file_changes(list);
    add_bindings(list);
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

// What reaches a process: one that is always the same when it must not arrive, else a new one. `told` is what
// the daemon says of a process that was reached.
Exchange Stage::target_exchange(const std::string& name, const std::string& command,
                                const ForProcess& request, const std::string& told, bool end_by_themselves) {
    auto targets = std::make_shared<std::map<int, Process>>();
    auto spared = std::make_shared<Process>();
    auto start_tagged = [=, this](int n) {
        const std::string tag = name + six_digits(n);
        Process process = start("{" + command + R"(,"tag":")" + tag + "\"}");
        process.tag = tag;
        return process;
    };
    Part part;
    part.request = [=](int n) {
        const auto target = targets->find(n);
        if (target != targets->end()) return request(target->second);
        return request({std::string(36, '0'), 0, name + six_digits(0)});
    };
    part.expected = "";
    part.effect = [=, this](int n) {
        const std::string answer = ask(get("/get_process?id=" + targets->at(n).id));
        EXPECT_NE(answer.find("\"exit_code\""), std::string::npos) << answer;
        return gone_effect(answer.find(told) != std::string::npos);
    };
    Exchange exchange{name, 0, {part}};
    exchange.every = 3;
    exchange.prepare = [=](int n, bool sent) {
        if (!sent && !is_alive(spared->pid)) *spared = start_tagged(n);
        (*targets)[n] = sent ? start_tagged(n) : *spared;
    };
    // By SIGKILL, which is nobody else's here; but for those that end by themselves once they are reached.
    exchange.finish = [=] {
        const auto reached_ends = [&](const auto& target) {
            return target.second.pid == spared->pid || !is_alive(target.second.pid);
        };
        EXPECT_TRUE(!end_by_themselves || comes_to_pass([&] {
            return std::all_of(targets->begin(), targets->end(), reached_ends);
        })) << name
            << " did not reach all";
        for (const auto& [n, process] : *targets) kill(process);
    };
    return exchange;
}

// A line for the process that writes what it reads.
Exchange Stage::input_exchange(const std::string& name, const std::function<std::string(int)>& request,
                               const std::string& expected) {
    Part input;
    input.request = request;
    input.expected = expected;
    input.effect = [this](int n) {
        const std::string lines = "\n" + content(directory_ / "stdin").value_or("");
        if (lines.size() % 7 != 1) return Effect::torn;
        return gone_effect(lines.find("\n" + six_digits(n) + "\n") != std::string::npos);
    };
    Exchange sending{name, 0, {input}};
    // What was sent before is in the file when this is; another number each time.
    sending.finish = [this] {
        const std::string last = six_digits(--last_line_);
        ask(post("/send_stdin", R"({"id":")" + running_.id + R"(","data":")" + last + R"(\n"})"));
        EXPECT_TRUE(
            comes_to_pass([&] { return content(directory_ / "stdin").value_or("").ends_with(last + "\n"); }));
    };
    return sending;
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
    for (const auto& [name, members, told] :
         {std::array{"kill_process", "", R"("status":"killed")"},
          std::array{"signal_process", R"(,"signal":"SIGTERM")", R"("signal":"SIGTERM")"}}) {
        auto request = [path = std::string("/") + name, more = std::string(members),
                        this](const Process& to) {
            return post(path, R"({"id":")" + to.id + "\"" + more + "}");
        };
        list.push_back(target_exchange(name, R"("cmd":"exec sleep 1000")", request, told));
        list.back().parts[0].expected = "\"success\":true";
    }
    auto send = [this](int n) {
        return post("/send_stdin", R"({"id":")" + running_.id + R"(","data":")" + six_digits(n) + R"(\n"})");
    };
    list.push_back(input_exchange("send_stdin", send, R"("success":true,"bytes":7)"));
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

// Whether a client of the forwarder comes to the target; else it is sent away.
bool Stage::reaches_target() const {
    const Line client = Line::connect(daemon_.proxy_port());
    EXPECT_TRUE(client.send("?"));
    pollfd either[2] = {{target_.fd(), POLLIN, 0}, {client.fd(), POLLIN, 0}};
    EXPECT_GT(::poll(either, 2, static_cast<int>(std::chrono::milliseconds(kPatience).count())), 0);
    const bool reached = either[0].revents != 0;
    if (reached) target_.accept();
    return reached;
}

// Whether a port is bound is seen by a client of the forwarder, after every single case.
void Stage::add_bindings(std::vector<Exchange>& list) {
    const std::string bind = post("/bind_port", R"({"port":")" + std::to_string(target_.port()) + "\"}");
    const std::string unbind = post("/unbind_port", "{}");
    auto binding = [&](const std::string& name, const std::string& request, const std::string& before,
                       const std::string& expected, bool reached) {
        Part part;
        part.request = [=](int) { return request; };
        part.expected = expected;
        part.effect = [=, this](int) { return gone_effect(reaches_target() == reached); };
        part.must_happen = true;
        Exchange exchange{name, 0, {part}};
        exchange.prepare = [=, this](int, bool) { ask(before); };
        exchange.finish = [=, this] { ask(unbind); };  // lets pipes go
        exchange.alone = true;
        list.push_back(exchange);
    };
    binding("bind_port", bind, unbind, "\"success\":true", true);
    binding("unbind_port", unbind, bind, "removed", false);
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

}  // namespace sandbox::chaos
