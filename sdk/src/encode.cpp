// Requests as JSON.

#include "codec.hpp"
#include "json.hpp"
#include "text.hpp"

namespace koyeb::sandbox::codec {
namespace {

void add_command(Json& json, const std::string& cmd, const std::vector<std::string>& args,
                 const std::string& cwd, const Environment& env, const std::optional<Seconds>& timeout,
                 const std::string& user) {
    if (args.empty() || !cmd.empty()) json["cmd"] = cmd;
    if (!args.empty()) json["args"] = args;
    if (!cwd.empty()) json["cwd"] = cwd;
    if (!env.empty()) json["env"] = env;
    if (timeout) json["timeout"] = timeout->count();
    if (!user.empty()) json["user"] = user;
}

void add_size(Json& json, const TerminalSize& size) {
    json["cols"] = size.cols;
    json["rows"] = size.rows;
}

}  // namespace

std::string encode(const RunRequest& request) {
    Json json = Json::object();
    add_command(json, request.cmd, request.args, request.cwd, request.env, request.timeout, request.user);
    if (!request.stdin_data.empty()) {
        json["stdin"] = base64_encode(request.stdin_data);
        json["stdin_encoding"] = "base64";
    }
    if (request.open_stdin) json["stdin"] = true;
    if (request.terminal) {
        json["tty"] = true;
        add_size(json, *request.terminal);
    }
    if (request.encoding == Encoding::base64) json["encoding"] = "base64";
    if (request.stats) json["stats"] = true;
    if (request.on_disconnect == OnDisconnect::continue_) json["on_disconnect"] = "continue";
    if (request.flush)
        json["flush_ms"] = std::chrono::duration_cast<std::chrono::milliseconds>(*request.flush).count();
    return text(json);
}

std::string encode(const WriteFileRequest& request) {
    Json json = Json::object();
    json["path"] = request.path;
    if (is_utf8(request.content)) {
        json["content"] = request.content;
    } else {
        json["content"] = base64_encode(request.content);
        json["encoding"] = "base64";
    }
    if (request.append) json["append"] = true;
    if (request.mode) json["mode"] = *request.mode;
    if (request.create_parents) json["create_parents"] = true;
    return text(json);
}

std::string encode(const ReadFileRequest& request) {
    Json json = Json::object();
    json["path"] = request.path;
    if (request.encoding == Encoding::base64) json["encoding"] = "base64";
    if (request.offset > 0) json["offset"] = request.offset;
    if (request.length) json["length"] = *request.length;
    return text(json);
}

std::string encode(const StartProcessRequest& request) {
    Json json = Json::object();
    add_command(json, request.cmd, request.args, request.cwd, request.env, request.timeout, request.user);
    if (request.open_stdin) json["stdin"] = true;
    if (!request.tag.empty()) json["tag"] = request.tag;
    return text(json);
}

std::string encode(const SignalRequest& request) {
    Json json = Json::object();
    json["id"] = request.id;
    json["signal"] = request.signal;
    if (request.tree) json["tree"] = true;
    return text(json);
}

std::string encode(const SendStdinRequest& request) {
    Json json = Json::object();
    json["id"] = request.id;
    json["data"] = base64_encode(request.data);
    json["encoding"] = "base64";
    if (request.close) json["close"] = true;
    if (request.resize) add_size(json, *request.resize);
    return text(json);
}

std::string encode(const MoveRequest& request) {
    Json json = Json::object();
    json["source"] = request.source;
    json["destination"] = request.destination;
    return text(json);
}

std::string encode_path(const std::string& path) {
    Json json = Json::object();
    json["path"] = path;
    return text(json);
}

std::string encode_stat(const std::string& path, bool follow) {
    Json json = Json::object();
    json["path"] = path;
    if (follow) json["follow"] = true;
    return text(json);
}

std::string encode_id(const std::string& id) {
    Json json = Json::object();
    json["id"] = id;
    return text(json);
}

std::string encode_port(std::optional<int> port) {
    Json json = Json::object();
    if (port) json["port"] = std::to_string(*port);
    return text(json);
}

}  // namespace koyeb::sandbox::codec
