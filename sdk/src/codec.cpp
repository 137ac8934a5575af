// Answers from JSON.

#include "codec.hpp"

#include <algorithm>
#include <cctype>

#include "json.hpp"
#include "text.hpp"

namespace koyeb::sandbox::codec {
namespace {

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

}  // namespace

std::string decoded(std::string bytes, bool base64) {
    if (!base64) return bytes;
    auto result = base64_decode(bytes);
    if (!result) unexpected("output that is no base64");
    return std::move(*result);
}

bool is_base64(const Json& json, bool asked) {
    const std::string said = string_of(json, "encoding");
    return said.empty() ? asked : said == "base64";
}

CommandEnd end_of(const Json& json) {
    const auto code = number_of<int>(json, "code");
    if (!code) unexpected("an end without an exit code");
    CommandEnd end;
    end.exit_code = *code;
    end.signal = string_of(json, "signal");
    end.timed_out = bool_of(json, "timed_out");
    end.oom_killed = bool_of(json, "oom_killed");
    end.pipes_open = bool_of(json, "pipes_open");
    end.stats = stats_of(json);
    return end;
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
    details.oom_killed = bool_of(json, "oom_killed");
    details.pipes_open = bool_of(json, "pipes_open");
    return details;
}

std::string error_text(std::string_view body) {
    const Json json = Json::parse(body, nullptr, false);
    if (json.is_object()) {
        for (const char* name : {"error", "message"}) {  // the two dialects
            if (std::string error = string_of(json, name); !error.empty()) return error;
        }
    }
    while (!body.empty() && (body.back() == '\n' || body.back() == '\r')) body.remove_suffix(1);
    return std::string(body.substr(0, 1000));
}

}  // namespace koyeb::sandbox::codec
