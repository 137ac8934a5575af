#pragma once
// What the three routes that start commands have in common: their request and how their end is told.

#include <memory>
#include <string>

#include "base/json_writer.hpp"
#include "koyeb/request_body.hpp"
#include "services/command.hpp"

namespace sandbox::koyeb {

struct CommandRequest {
    CommandSpec spec;
    std::unique_ptr<Spool> stdin_bytes;  // fed to the command, then end of file; null: none
    bool open_stdin = false;             // input comes by /send_stdin
    bool base64 = false;                 // "encoding": exact bytes
    bool stats = false;
    bool keep_on_disconnect = false;
    Milliseconds keepalive{0};
    Milliseconds flush{0};
    std::string tag;
};

// How a route's commands can get input.
enum class InputForm : std::uint8_t {
    text,      // "stdin" is text to feed
    pipe,      // or true, which keeps a pipe open for /send_stdin
    terminal,  // and "tty" gives a terminal instead of pipes
};

// Reads and checks the request; null when an error answer has been sent.
Task<std::unique_ptr<CommandRequest>> read_command_request(net::Exchange& exchange, Context& context,
                                                           InputForm form);

// The members "cols" and "rows", 1 to 65535 each; nothing when neither is there.
Result<std::optional<PtySize>> terminal_size(const JsonFields& fields);

// The answer to a command that could not be started: 400 for a bad working directory or user, 500 with stage
// and errno.
Task<bool> respond_start_error(net::Exchange& exchange, const CommandError& error);

// Begins to write the request's text for stdin, if there is one, and closes stdin behind it.
void start_feeding(Context& context, std::shared_ptr<Command> command, CommandRequest& request);

// How it is told that a command did not start, and that it cannot be ended.
std::string not_started_message(const Error& error);
std::string survives_message(pid_t pid);

// The end of a command whose timeout passed while it was being started.
CommandEnd timed_out_at_start(const CommandSpec& spec);

// The exit code to tell: never 0 for a command that ran into its timeout.
int told_code(const CommandEnd& end);

// The members that are there only when they say something: signal, timed_out, oom_killed, pipes_open; with
// `stats` also duration_ms, user_cpu_ms, system_cpu_ms, max_rss_bytes.
void write_end_members(JsonWriter& writer, const CommandEnd& end, bool stats);

}  // namespace sandbox::koyeb
