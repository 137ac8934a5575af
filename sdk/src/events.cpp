// Events of streams: server-sent ones, and messages of the Connect protocol.

#include "codec.hpp"
#include "json.hpp"

namespace koyeb::sandbox::codec {
namespace {

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

}  // namespace

std::variant<std::monostate, CommandStart, OutputEvent, CommandEnd> decode_command_event(
    const SseEvent& event) {
    const Json json = parse(event.data);
    if (const std::string error = error_of(json); !error.empty()) throw SandboxCommandError(error);
    if (find(json, "stream") != nullptr) {
        OutputEvent output;
        output.stream = stream_of(json);
        output.data = piece_of(json);
        return output;
    }
    if (find(json, "code") != nullptr) return end_of(json);
    if (event.type == "start")
        return CommandStart{string_of(json, "id"), number_of<std::int64_t>(json, "pid").value_or(0)};
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

std::string encode_watch(const std::string& path, bool recursive) {
    Json json = Json::object();
    json["path"] = path;
    json["recursive"] = recursive;
    return text(json);
}

std::variant<std::monostate, WatchStart, FileEvent> decode_watch_message(std::string_view payload) {
    const Json json = parse(payload);
    if (find(json, "start") != nullptr) return WatchStart{};
    const Json* change = find(json, "filesystem");
    if (change == nullptr || !change->is_object()) return std::monostate{};
    const std::string type = string_of(*change, "type");
    FileEvent event;
    event.name = string_of(*change, "name");
    for (const auto& [name, value] : {std::pair{"EVENT_TYPE_CREATE", FileEventType::create},
                                      {"EVENT_TYPE_WRITE", FileEventType::write},
                                      {"EVENT_TYPE_REMOVE", FileEventType::remove},
                                      {"EVENT_TYPE_RENAME", FileEventType::rename},
                                      {"EVENT_TYPE_CHMOD", FileEventType::chmod}}) {
        if (type != name) continue;
        event.type = value;
        return event;
    }
    return std::monostate{};  // a kind that is not known yet
}

void check_connect_end(std::string_view payload) {
    const Json json = parse(payload);
    const Json* error = find(json, "error");
    if (error == nullptr || !error->is_object()) return;
    const std::string code = string_of(*error, "code");
    const std::string message = string_of(*error, "message");
    if (code == "not_found") throw SandboxFileNotFoundError(message);
    if (code == "unavailable") throw SandboxServiceError(503, message);
    if (code == "deadline_exceeded") throw SandboxTimeoutError(message);
    throw SandboxFilesystemError(message.empty() ? code : message);
}

}  // namespace koyeb::sandbox::codec
