#pragma once
// Requests to JSON, answers and events from JSON. Only the sources of this header know the JSON library.

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "koyeb/sandbox/types.hpp"
#include "sse_parser.hpp"

namespace koyeb::sandbox::codec {

std::string encode(const RunRequest& request);
std::string encode(const WriteFileRequest& request);
std::string encode(const ReadFileRequest& request);
std::string encode(const StartProcessRequest& request);
std::string encode(const SignalRequest& request);
std::string encode(const SendStdinRequest& request);
std::string encode(const MoveRequest& request);
std::string encode_path(const std::string& path);
std::string encode_stat(const std::string& path, bool follow);
std::string encode_id(const std::string& id);
std::string encode_port(std::optional<int> port);

// All decoders throw SandboxServiceError(0) when the answer is not what was agreed.
Health decode_health(std::string_view body);
// `base64`: it was asked for.
RunResponse decode_run(std::string_view body, bool base64);
// Throws the filesystem error that the body tells, if it tells one.
void check_file_answer(std::string_view body);
FileInfo decode_read_file(std::string_view body, Encoding asked);
std::vector<std::string> decode_list_dir(std::string_view body);
FileStat decode_stat(std::string_view body);
// Throws SandboxError with the daemon's text unless the body says success.
void check_success(std::string_view body);
BindPortResponse decode_bind_port(std::string_view body, int asked);
StartProcessResponse decode_start_process(std::string_view body);
std::vector<ProcessInfo> decode_processes(std::string_view body);
ProcessDetails decode_process(std::string_view body);

// The text of an error answer: the `error` or `message` member of a JSON body, or the body itself without its
// line end.
std::string error_text(std::string_view body);

// The first event of a command that takes input.
struct CommandStart {
    std::string id;
    std::int64_t pid = 0;
};
// An event of /run_streaming. Throws SandboxCommandError for an error event. Nothing for an event of a kind
// that is not known.
std::variant<std::monostate, CommandStart, OutputEvent, CommandEnd> decode_command_event(
    const SseEvent& event);

struct LogComplete {};
// An event of /process_logs_streaming. Throws SandboxError for an error event.
std::variant<std::monostate, LogEvent, LogComplete> decode_log_event(const SseEvent& event);

// filesystem.Filesystem/WatchDir of the envd API.
std::string encode_watch(const std::string& path, bool recursive);
struct WatchStart {};
std::variant<std::monostate, WatchStart, FileEvent> decode_watch_message(std::string_view payload);
// The message that ends a stream of the Connect protocol: throws the error in it, if there is one.
void check_connect_end(std::string_view payload);

// The exception that a text of a file operation stands for, by the patterns the SDKs agree on.
[[noreturn]] void throw_file_error(const std::string& message);

}  // namespace koyeb::sandbox::codec
