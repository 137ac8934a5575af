#include "codec.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <utility>

#include "koyeb/sandbox/errors.hpp"
#include "text.hpp"

namespace koyeb::sandbox::codec {
namespace {

using Json = nlohmann::json;

// Names, environment and commands can hold any bytes; JSON cannot.
std::string text(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

[[noreturn]] void unexpected(std::string_view body) {
    std::string shown(body.substr(0, 200));
    throw SandboxServiceError(0, "unexpected answer of the sandbox: " + shown);
}

Json parse(std::string_view body) {
    Json json = Json::parse(body, nullptr, false);
    if (!json.is_object()) unexpected(body);
    return json;
}

const Json* find(const Json& json, const char* name) {
    const auto it = json.find(name);
    return it == json.end() || it->is_null() ? nullptr : &*it;
}

std::string string_of(const Json& json, const char* name) {
    const Json* value = find(json, name);
    return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

bool bool_of(const Json& json, const char* name) {
    const Json* value = find(json, name);
    return value != nullptr && value->is_boolean() && value->get<bool>();
}

template <class Number>
std::optional<Number> number_of(const Json& json, const char* name) {
    const Json* value = find(json, name);
    if (value == nullptr) return std::nullopt;
    if (value->is_string()) {  // the TypeScript SDK types some numbers as strings
        const auto& digits = value->get_ref<const std::string&>();
        Number number{};
        const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
        if (ec == std::errc() && end == digits.data() + digits.size()) return number;
        return std::nullopt;
    }
    if (!value->is_number()) return std::nullopt;
    if constexpr (std::is_integral_v<Number>) {
        // One that does not fit is none: an exit code of 2^32 is no 0.
        if (value->is_number_float()) {
            const double number = value->get<double>();
            if (!(std::abs(number) < 9e15) || !std::in_range<Number>(std::int64_t(number)))
                return std::nullopt;
            return static_cast<Number>(number);
        }
        const bool fits = value->is_number_unsigned() ? std::in_range<Number>(value->get<std::uint64_t>())
                                                      : std::in_range<Number>(value->get<std::int64_t>());
        if (!fits) return std::nullopt;
    }
    return value->get<Number>();
}

std::string decoded(std::string bytes, bool base64) {
    if (!base64) return bytes;
    auto result = base64_decode(bytes);
    if (!result) unexpected("output that is no base64");
    return std::move(*result);
}

// Whether the bytes in `json` travelled as base64: when they were asked for so and the answer does not say
// otherwise.
bool is_base64(const Json& json, bool asked) {
    const std::string said = string_of(json, "encoding");
    return said.empty() ? asked : said == "base64";
}

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

std::optional<CommandStats> stats_of(const Json& json) {
    const Json* nested = find(json, "stats");
    const Json& from = nested != nullptr && nested->is_object() ? *nested : json;
    CommandStats stats;
    const auto duration = number_of<double>(from, "duration_ms");
    if (!duration) return std::nullopt;
    stats.duration_ms = *duration;
    stats.user_cpu_ms = number_of<double>(from, "user_cpu_ms").value_or(0);
    stats.system_cpu_ms = number_of<double>(from, "system_cpu_ms").value_or(0);
    stats.peak_rss_bytes = number_of<std::uint64_t>(from, "max_rss_bytes").value_or(0);
    return stats;
}

CommandEnd end_of(const Json& json) {
    const auto code = number_of<int>(json, "code");
    if (!code) unexpected("an end without an exit code");
    CommandEnd end;
    end.exit_code = *code;
    end.signal = string_of(json, "signal");
    end.timed_out = bool_of(json, "timed_out");
    end.pipes_open = bool_of(json, "pipes_open");
    end.stats = stats_of(json);
    return end;
}

Stream stream_of(const Json& json) {
    return string_of(json, "stream") == "stderr" ? Stream::err : Stream::out;
}

// A piece of output with its line end back.
std::string piece_of(const Json& json) {
    if (is_base64(json, false)) return decoded(string_of(json, "data"), true);
    std::string data = string_of(json, "data");
    if (bool_of(json, "partial")) return data;
    const Json* eol = find(json, "eol");
    return data + (eol != nullptr && eol->is_string() ? eol->get<std::string>() : "\n");
}

ProcessInfo process_of(const Json& json) {
    if (!json.is_object()) unexpected("a process that is no object");
    ProcessInfo process;
    process.id = string_of(json, "id");
    process.command = string_of(json, "command");
    process.status = string_of(json, "status");
    process.pid = number_of<std::int64_t>(json, "pid");
    process.exit_code = number_of<int>(json, "exit_code");
    for (auto [name, member] :
         {std::pair{"started_at", &process.started_at}, {"completed_at", &process.completed_at}})
        if (std::string time = string_of(json, name); !time.empty()) *member = std::move(time);
    return process;
}

bool contains(const std::string& haystack, std::string_view needle) {
    const auto same = [](char a, char b) {
        return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
    };
    return std::search(haystack.begin(), haystack.end(), needle.begin(), needle.end(), same) !=
           haystack.end();
}

// The `error` member when it is a text with something in it.
std::string error_of(const Json& json) { return string_of(json, "error"); }

}  // namespace

std::string encode(const RunRequest& request) {
    Json json = Json::object();
    add_command(json, request.cmd, request.args, request.cwd, request.env, request.timeout, request.user);
    if (!request.stdin_data.empty()) {
        json["stdin"] = base64_encode(request.stdin_data);
        json["stdin_encoding"] = "base64";
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

Health decode_health(std::string_view body) {
    const Json json = parse(body);
    Health health;
    health.status = string_of(json, "status");
    if (health.status.empty()) unexpected(body);
    return health;
}

RunResponse decode_run(std::string_view body, bool base64) {
    const Json json = parse(body);
    base64 = is_base64(json, base64);
    RunResponse response;
    response.end = end_of(json);
    response.stdout_data = decoded(string_of(json, "stdout"), base64);
    response.stderr_data = decoded(string_of(json, "stderr"), base64);
    response.truncated = bool_of(json, "truncated");
    response.error = error_of(json);
    return response;
}

void throw_file_error(const std::string& message) {
    if (contains(message, "no such file") || contains(message, "not found"))
        throw SandboxFileNotFoundError(message);
    if (contains(message, "file exists") || contains(message, "already exists"))
        throw SandboxFileExistsError(message);
    throw SandboxFilesystemError(message);
}

void check_file_answer(std::string_view body) {
    const Json json = parse(body);
    if (const std::string error = error_of(json); !error.empty()) throw_file_error(error);
    const Json* success = find(json, "success");
    if (success != nullptr && success->is_boolean() && !success->get<bool>()) unexpected(body);
}

FileInfo decode_read_file(std::string_view body, Encoding asked) {
    const Json json = parse(body);
    if (const std::string error = error_of(json); !error.empty()) throw_file_error(error);
    FileInfo info;
    info.encoding = is_base64(json, false) ? Encoding::base64 : Encoding::utf8;
    // A server that never speaks of an encoding does not know ours.
    if (asked == Encoding::base64 && info.encoding != Encoding::base64)
        throw SandboxFilesystemError("this server cannot send exact bytes");
    info.content = decoded(string_of(json, "content"), info.encoding == Encoding::base64);
    return info;
}

std::vector<std::string> decode_list_dir(std::string_view body) {
    const Json json = parse(body);
    if (const std::string error = error_of(json); !error.empty()) throw_file_error(error);
    std::vector<std::string> names;
    if (const Json* entries = find(json, "entries"); entries != nullptr && entries->is_array()) {
        for (const Json& entry : *entries)
            if (entry.is_string()) names.push_back(entry.get<std::string>());
    }
    return names;
}

FileStat decode_stat(std::string_view body) {
    const Json json = parse(body);
    if (const std::string error = error_of(json); !error.empty()) throw_file_error(error);
    const std::string type = string_of(json, "type");
    FileStat stat;
    if (type == "file") stat.type = FileType::file;
    if (type == "directory") stat.type = FileType::directory;
    if (type == "symlink") stat.type = FileType::symlink;
    stat.size = number_of<std::uint64_t>(json, "size").value_or(0);
    if (const Json* mode = find(json, "mode"); mode != nullptr && mode->is_string()) {
        stat.mode =
            static_cast<unsigned>(std::strtoul(mode->get_ref<const std::string&>().c_str(), nullptr, 8));
    } else {
        stat.mode = number_of<unsigned>(json, "mode").value_or(0);
    }
    stat.mode &= 07777U;
    stat.modified_at = string_of(json, "modified_at");
    stat.uid = number_of<std::int64_t>(json, "uid").value_or(-1);
    stat.gid = number_of<std::int64_t>(json, "gid").value_or(-1);
    stat.user = string_of(json, "user");
    stat.group = string_of(json, "group");
    stat.target = string_of(json, "target");
    return stat;
}

void check_success(std::string_view body) {
    const Json json = parse(body);
    const Json* success = find(json, "success");
    if (success != nullptr && success->is_boolean() && !success->get<bool>()) {
        const std::string error = error_of(json);
        throw SandboxError(error.empty() ? std::string(body) : error);
    }
}

BindPortResponse decode_bind_port(std::string_view body, int asked) {
    check_success(body);
    const Json json = parse(body);
    BindPortResponse response;
    response.port = number_of<int>(json, "port").value_or(asked);
    response.message = string_of(json, "message");
    return response;
}

StartProcessResponse decode_start_process(std::string_view body) {
    const Json json = parse(body);
    StartProcessResponse response;
    response.id = string_of(json, "id");
    response.pid = number_of<std::int64_t>(json, "pid").value_or(0);
    response.status = string_of(json, "status");
    if (const std::string error = error_of(json); !error.empty()) throw SandboxCommandError(error);
    if (response.id.empty()) unexpected(body);
    return response;
}

std::vector<ProcessInfo> decode_processes(std::string_view body) {
    const Json json = parse(body);
    const Json* list = find(json, "processes");
    if (list == nullptr || !list->is_array()) unexpected(body);
    std::vector<ProcessInfo> processes;
    for (const Json& process : *list) processes.push_back(process_of(process));
    return processes;
}

ProcessDetails decode_process(std::string_view body) {
    const Json json = parse(body);
    if (const std::string error = error_of(json); !error.empty()) throw SandboxError(error);
    ProcessDetails details;
    static_cast<ProcessInfo&>(details) = process_of(json);
    if (details.id.empty()) unexpected(body);
    details.cwd = string_of(json, "cwd");
    details.tag = string_of(json, "tag");
    details.signal = string_of(json, "signal");
    details.timed_out = bool_of(json, "timed_out");
    details.pipes_open = bool_of(json, "pipes_open");
    return details;
}

std::string error_text(std::string_view body) {
    const Json json = Json::parse(body, nullptr, false);
    if (json.is_object())
        if (std::string error = error_of(json); !error.empty()) return error;
    while (!body.empty() && (body.back() == '\n' || body.back() == '\r')) body.remove_suffix(1);
    return std::string(body.substr(0, 1000));
}

std::variant<std::monostate, OutputEvent, CommandEnd> decode_command_event(const SseEvent& event) {
    const Json json = parse(event.data);
    if (const std::string error = error_of(json); !error.empty()) throw SandboxCommandError(error);
    if (find(json, "stream") != nullptr) {
        OutputEvent output;
        output.stream = stream_of(json);
        output.data = piece_of(json);
        return output;
    }
    if (find(json, "code") != nullptr) return end_of(json);
    return std::monostate{};
}

std::variant<std::monostate, LogEvent, LogComplete> decode_log_event(const SseEvent& event) {
    const Json json = parse(event.data);
    if (event.type == "complete") return LogComplete{};
    if (event.type == "error") throw SandboxError(error_of(json));
    LogEvent log;
    std::int64_t id = 0;
    const auto [end, ec] = std::from_chars(event.id.data(), event.id.data() + event.id.size(), id);
    if (!event.id.empty() && ec == std::errc() && end == event.id.data() + event.id.size()) log.id = id;
    log.timestamp = string_of(json, "timestamp");
    if (event.type == "gap") {
        log.gap = true;
        log.missing_lines = number_of<std::uint64_t>(json, "lines").value_or(0);
        log.missing_bytes = number_of<std::uint64_t>(json, "bytes").value_or(0);
        return log;
    }
    if (find(json, "stream") == nullptr) return std::monostate{};
    log.stream = stream_of(json);
    log.data = piece_of(json);
    return log;
}

}  // namespace koyeb::sandbox::codec
