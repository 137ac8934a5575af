#pragma once
/// @file
/// Requests and answers as plain structs. Times are seconds with fractions, sizes are bytes, paths are the
/// sandbox's.
///
/// A member that is left at its default is left out of the request. Fields named "extra" are understood by
/// `sandbox-executor`; Koyeb's Go executor ignores them.

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace koyeb::sandbox {

/// A span of time in seconds, with fractions.
using Seconds = std::chrono::duration<double>;

/// Environment variables by name.
using Environment = std::map<std::string, std::string>;

/// How a sandbox is reached.
struct ConnectionInfo {
    /// `http://host[:port][/path]` or `https://…`; a path is kept in front of every request's
    /// (`https://name.koyeb.app/koyeb-sandbox`). Host can be a name, an IPv4 address or `[an IPv6 address]`.
    std::string url;
    /// Shared secret, sent as `Authorization: Bearer …`. Empty: not sent.
    std::string secret;
    /// Sent as `X-Routing-Key`, for sandboxes behind a shared domain. Empty: not sent.
    std::string routing_key;
    /// Longest wait for a connection with name resolution and TLS handshake; above 0.
    Seconds connect_timeout{10};
    /// Longest silence during a request that runs no command; above 0. The SDKs' default is 30 s.
    Seconds timeout{30};
    /// How often a request is sent again after a 503; 0 to 10. The SDKs' default is 3.
    int retries = 3;
    /// Wait before the first of those; doubled for each further one (1, 2, 4 s).
    Seconds retry_backoff{1};
    /// PEM file of certificate authorities for `https`, on top of the system's. Empty: the system's alone.
    std::string ca_file;
    /// Whether the server's certificate is checked against those authorities and the URL's host name.
    bool verify_certificate = true;
};

/// How bytes travel in JSON.
enum class Encoding : std::uint8_t {
    utf8,    ///< as text; what is not UTF-8 becomes U+FFFD
    base64,  ///< exact bytes. The structs of this library always hold the decoded bytes
};

/// Which of a command's output streams.
enum class Stream : std::uint8_t {
    out,  ///< standard output
    err,  ///< standard error
};

/// What becomes of a command when the client goes away.
enum class OnDisconnect : std::uint8_t {
    kill,      ///< its whole tree is ended
    continue_  ///< it goes on
};

/// Answer of GET /health.
struct Health {
    std::string status;  ///< `ok`, `healthy` or `ready`; `draining` during shutdown
    /// Whether the status is one of the three good ones.
    bool ok() const { return status == "ok" || status == "healthy" || status == "ready"; }
};

/// Resource use of a command that was run with `stats` (extra).
struct CommandStats {
    double duration_ms = 0;            ///< from spawn to end, milliseconds
    double user_cpu_ms = 0;            ///< CPU time in user space, milliseconds
    double system_cpu_ms = 0;          ///< CPU time in the kernel, milliseconds
    std::uint64_t peak_rss_bytes = 0;  ///< largest resident set
};

/// Size of a terminal in characters; 1 to 65535 each.
struct TerminalSize {
    unsigned cols = 80;  ///< width
    unsigned rows = 24;  ///< height
};

/// Body of POST /run and /run_streaming.
struct RunRequest {
    std::string cmd;                 ///< run as `sh -c cmd`; empty when `args` is used
    std::vector<std::string> args;   ///< extra: an argv that runs without a shell
    std::string cwd;                 ///< working directory; empty: the daemon's
    Environment env;                 ///< on top of the daemon's
    std::optional<Seconds> timeout;  ///< extra: then TERM, after a grace KILL, to the whole tree
    std::string stdin_data;          ///< extra: bytes for standard input; empty: `/dev/null`
    bool open_stdin = false;         ///< extra, streams only: standard input comes by /send_stdin
    /// Extra, streams only: a terminal of this size instead of pipes; includes `open_stdin`.
    std::optional<TerminalSize> terminal;
    std::string user;                                 ///< extra: name or number; empty: the daemon's
    Encoding encoding = Encoding::utf8;               ///< base64 (extra) for exact bytes, utf8 for lines
    bool stats = false;                               ///< extra: ask for CommandStats
    OnDisconnect on_disconnect = OnDisconnect::kill;  ///< extra
    std::optional<Seconds> flush;  ///< extra, utf8 streams: send a held piece of a line after this time
};

/// How a command ended.
struct CommandEnd {
    int exit_code = 0;                  ///< 0 to 255; `128 + n` after signal n
    std::string signal;                 ///< `SIGKILL`, …; empty when it exited by itself
    bool timed_out = false;             ///< ended by `timeout`
    bool oom_killed = false;            ///< killed while the kernel ended processes for want of memory
    bool pipes_open = false;            ///< a background process it left holds its output open
    std::optional<CommandStats> stats;  ///< when they were asked for
};

/// Answer of POST /run.
struct RunResponse {
    std::string stdout_data;  ///< all of standard output
    std::string stderr_data;  ///< all of standard error
    CommandEnd end;           ///< how it ended
    bool truncated = false;   ///< the daemon could not keep all of the output
    std::string error;        ///< the daemon's words when the exit code is not 0 or output was lost
};

/// A piece of output of a streamed command.
struct OutputEvent {
    Stream stream = Stream::out;  ///< where it came from; `out` for a terminal
    std::string data;             ///< the bytes, line end included when there was one
};

/// Body of POST /write_file.
struct WriteFileRequest {
    std::string path;              ///< target; a symbolic link is followed
    std::string content;           ///< bytes; sent as base64 (extra) unless they are UTF-8
    bool append = false;           ///< extra: at the end of what is there
    std::optional<unsigned> mode;  ///< extra: permission bits, such as 0755
    bool create_parents = false;   ///< extra: make missing parent directories
};

/// Body of POST /read_file.
struct ReadFileRequest {
    std::string path;                     ///< what to read
    Encoding encoding = Encoding::utf8;   ///< base64 (extra) for exact bytes
    std::uint64_t offset = 0;             ///< extra: first byte
    std::optional<std::uint64_t> length;  ///< extra: at most so many bytes
};

/// A file's content. Modelled on Python's `FileInfo`.
struct FileInfo {
    std::string content;                 ///< text, or the decoded bytes
    Encoding encoding = Encoding::utf8;  ///< how it travelled
};

/// What kind of thing a path names.
enum class FileType : std::uint8_t {
    file,       ///< regular file
    directory,  ///< directory
    symlink,    ///< symbolic link that was not followed
    other,      ///< device, pipe, socket
};

/// Answer of POST /stat (extra).
struct FileStat {
    FileType type = FileType::other;  ///< of what the path names
    std::uint64_t size = 0;           ///< bytes
    unsigned mode = 0;                ///< permission bits
    std::string modified_at;          ///< RFC 3339, UTC
    std::int64_t uid = -1;            ///< owner
    std::int64_t gid = -1;            ///< group
    std::string user;                 ///< the owner's name, when it has one
    std::string group;                ///< the group's name, when it has one
    std::string target;               ///< of a symbolic link that was not followed: where it points to
};

/// Body of POST /move and /copy (extra).
struct MoveRequest {
    std::string source;       ///< existing path
    std::string destination;  ///< new path
};

/// Answer of POST /bind_port.
struct BindPortResponse {
    int port = 0;         ///< 1 to 65535
    std::string message;  ///< the daemon's words
};

/// Body of POST /start_process.
struct StartProcessRequest {
    std::string cmd;                 ///< run as `sh -c cmd`; empty when `args` is used
    std::vector<std::string> args;   ///< extra: an argv that runs without a shell
    std::string cwd;                 ///< working directory; empty: the daemon's
    Environment env;                 ///< on top of the daemon's
    std::optional<Seconds> timeout;  ///< extra: the process is ended then
    bool open_stdin = false;         ///< extra: keep standard input open for /send_stdin
    std::string tag;                 ///< extra: a name of your choice
    std::string user;                ///< extra: name or number; empty: the daemon's
};

/// Answer of POST /start_process.
struct StartProcessResponse {
    std::string id;        ///< UUID
    std::int64_t pid = 0;  ///< process id inside the sandbox
    std::string status;    ///< `running`
};

/// A background process. Modelled on Python's `ProcessInfo`.
struct ProcessInfo {
    std::string id;                           ///< UUID
    std::string command;                      ///< as it was started
    std::string status;                       ///< `running`, `completed`, `failed` or `killed`
    std::optional<std::int64_t> pid;          ///< process id inside the sandbox
    std::optional<int> exit_code;             ///< when it has ended
    std::optional<std::string> started_at;    ///< RFC 3339, UTC
    std::optional<std::string> completed_at;  ///< RFC 3339, UTC, when it has ended
    /// Whether it has not ended.
    bool running() const { return status == "running"; }
};

/// Answer of GET /get_process (extra).
struct ProcessDetails : ProcessInfo {
    std::string cwd;          ///< working directory it was started in
    std::string tag;          ///< as given at its start
    std::string signal;       ///< the signal that ended it
    bool timed_out = false;   ///< ended by its timeout
    bool oom_killed = false;  ///< killed while the kernel ended processes for want of memory
    bool pipes_open = false;  ///< its output is held open by what it left behind
};

/// Body of POST /signal_process (extra).
struct SignalRequest {
    std::string id;      ///< UUID
    std::string signal;  ///< `SIGINT`, `HUP`, `15`, …
    bool tree = false;   ///< everything it started, too
};

/// Body of POST /send_stdin (extra).
struct SendStdinRequest {
    std::string id;                      ///< of a process or a stream that was started with `open_stdin`
    std::string data;                    ///< bytes
    bool close = false;                  ///< end its standard input after them; not for a terminal
    std::optional<TerminalSize> resize;  ///< change the size of its terminal before
};

/// Query of GET /process_logs_streaming.
struct LogsRequest {
    std::string id;                    ///< UUID
    std::optional<std::int64_t> from;  ///< extra: first event id wanted; absent: all that is kept
    bool follow = true;                ///< extra: false ends after what is kept
};

/// One event of a process's log.
struct LogEvent {
    std::optional<std::int64_t> id;   ///< rising by 1 from event to event; absent from the Go executor
    Stream stream = Stream::out;      ///< where it came from
    std::string data;                 ///< the bytes, line end included when there was one
    std::string timestamp;            ///< RFC 3339, UTC: when it was read
    bool gap = false;                 ///< no output, but a note that older output was dropped here
    std::uint64_t missing_lines = 0;  ///< of a gap
    std::uint64_t missing_bytes = 0;  ///< of a gap
};

/// State of a command. Modelled on Python's `CommandStatus`.
enum class CommandStatus : std::uint8_t {
    running,   ///< has not ended
    finished,  ///< ended with code 0
    failed,    ///< ended with another code
};

/// What a command printed and how it ended. Modelled on Python's `CommandResult`.
struct CommandResult {
    std::string stdout_data;                         ///< all of standard output
    std::string stderr_data;                         ///< all of standard error
    int exit_code = 0;                               ///< 0 to 255; `128 + n` after signal n
    CommandStatus status = CommandStatus::finished;  ///< finished or failed
    Seconds duration{0};                             ///< as seen from here
    std::string command;                             ///< what was run
    std::string signal;                              ///< the signal that ended it, or empty
    bool timed_out = false;                          ///< its time was up
    bool oom_killed = false;            ///< killed while the kernel ended processes for want of memory
    bool pipes_open = false;            ///< something it left in the background holds its output
    std::optional<CommandStats> stats;  ///< when they were asked for
    /// Whether it ended with code 0.
    bool success() const { return status == CommandStatus::finished && exit_code == 0; }
    /// Standard output followed by standard error.
    std::string output() const { return stdout_data + stderr_data; }
};

/// Takes pieces of output as they arrive, on the thread that waits for the command. What it throws ends the
/// command and comes out of the call.
using OutputCallback = std::function<void(std::string_view data)>;

/// How `exec` runs a command. Modelled on the arguments of Python's `sandbox.exec`.
struct ExecOptions {
    std::string cwd;           ///< working directory; empty: the daemon's
    Environment env;           ///< on top of the daemon's
    Seconds timeout{30};       ///< then the whole tree is ended and SandboxTimeoutError thrown; 0: no limit
    OutputCallback on_stdout;  ///< called with exact bytes as they come, not line by line
    OutputCallback on_stderr;  ///< the same for standard error
    std::string stdin_data;    ///< bytes for standard input; empty: `/dev/null`
    bool open_stdin = false;   ///< `exec_stream` only: standard input comes by `CommandStream::write`
    std::vector<std::string> args;  ///< an argv that runs without a shell, instead of the command text
    std::string user;               ///< name or number; empty: the daemon's
    bool stats = false;             ///< ask for CommandStats
    bool keep_output = true;        ///< false: the callbacks alone get the output, the result has none
};

/// How `pty` starts a command on a terminal of its own. Modelled on the options of E2B's `pty.create`, except
/// that user, directory and environment are those of `exec`.
struct PtyOptions {
    TerminalSize size;              ///< of the terminal at the start
    std::string cwd;                ///< working directory; empty: the daemon's
    Environment env;                ///< on top of the daemon's; `TERM` is `xterm-256color` unless named here
    std::string user;               ///< name or number; empty: the daemon's
    std::vector<std::string> args;  ///< an argv that runs without a shell, instead of the command text
};

/// How `launch_process` starts a process.
struct LaunchOptions {
    std::string cwd;                 ///< working directory; empty: the daemon's
    Environment env;                 ///< on top of the daemon's
    bool open_stdin = false;         ///< keep standard input open for `send_stdin`
    std::string tag;                 ///< a name of your choice
    std::string user;                ///< name or number; empty: the daemon's
    std::vector<std::string> args;   ///< an argv that runs without a shell, instead of the command text
    std::optional<Seconds> timeout;  ///< the process is ended then
};

/// A file for `write_files`.
struct FileToWrite {
    std::string path;     ///< target
    std::string content;  ///< bytes
};

/// How `Filesystem::write_file` writes.
struct WriteOptions {
    bool append = false;           ///< at the end of what is there
    std::optional<unsigned> mode;  ///< permission bits, such as 0755; absent: kept, or 0644 for a new file
    bool create_parents = false;   ///< make missing parent directories
};

/// What has happened to a file. Modelled on E2B's `FilesystemEventType`.
enum class FileEventType : std::uint8_t {
    create,  ///< made, or moved to here
    write,   ///< its content was changed
    remove,  ///< deleted
    rename,  ///< moved away
    chmod,   ///< its mode, owner or times were changed
};

/// One change below a watched directory.
struct FileEvent {
    FileEventType type = FileEventType::create;  ///< what has happened
    std::string name;  ///< relative to the watched directory (`sub/a.txt`); `.` for itself
};

/// Called during transfers with the bytes done and the size of the whole, on the thread that waits.
using ProgressCallback = std::function<void(std::uint64_t done, std::uint64_t total)>;

/// A port that the TCP forwarder leads to. Modelled on Python's `ExposedPort`.
struct ExposedPort {
    int port = 0;            ///< 1 to 65535
    std::string exposed_at;  ///< `https://host`: the origin of the connection's URL
};

}  // namespace koyeb::sandbox
