#pragma once
/// @file
/// The low-level client as Asio awaitables: one method an endpoint.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "koyeb/sandbox/awaitable.hpp"
#include "koyeb/sandbox/errors.hpp"
#include "koyeb/sandbox/types.hpp"

namespace koyeb::sandbox {

class ClientCore;

/// The running command of a /run_streaming request. Movable. Destroying it before its end closes the
/// connection, and the sandbox ends the command's whole tree (unless `on_disconnect` said otherwise). Belongs
/// to the client's thread.
class AsyncCommandStream {
  public:
    /// @cond
    struct Impl;
    explicit AsyncCommandStream(std::unique_ptr<Impl> impl);
    /// @endcond
    /// Takes over another's command.
    AsyncCommandStream(AsyncCommandStream&&) noexcept;
    /// Takes over another's command; an own one that runs is ended.
    AsyncCommandStream& operator=(AsyncCommandStream&&) noexcept;
    ~AsyncCommandStream();

    /// The next piece of output, in the order of arrival; nothing once the command has ended. Not reading is
    /// back-pressure: the command blocks. Cancelling the awaitable ends the stream and the command.
    /// Throws SandboxCommandError (could not be started, output lost), SandboxServiceError (connection
    /// broke), SandboxTimeoutError (client-side limit).
    Awaitable<std::optional<OutputEvent>> next();
    /// How it ended. Valid once next() has returned nothing.
    const CommandEnd& end() const;

    /// Bytes for the standard input of a command that was started with `open_stdin`, or for its terminal. May
    /// run beside next(). Suspends while the command does not read: read its output meanwhile. Throws
    /// SandboxServiceError (400: the command has ended or reads no more), SandboxError (started without).
    Awaitable<> write(std::string data);
    /// Ends its standard input: the command reads end of file. A terminal has no such end: write `\x04`
    /// (Ctrl-D). Throws as write().
    Awaitable<> close_stdin();
    /// Changes the size of its terminal; the foreground programs get SIGWINCH. Throws as write(), also when
    /// there is no terminal.
    Awaitable<> resize(TerminalSize size);
    /// Under which SendStdinRequest finds it while it is streamed; empty without `open_stdin`.
    const std::string& id() const;
    /// Process id inside the sandbox; 0 without `open_stdin`.
    std::int64_t pid() const;

  private:
    std::unique_ptr<Impl> impl_;
};

/// A process's log, from what is kept to its end. A connection that breaks is made anew and goes on behind
/// the last event id, without loss or duplicate. Movable; destroying it only stops reading. Belongs to the
/// client's thread.
class AsyncLogStream {
  public:
    /// @cond
    struct Impl;
    explicit AsyncLogStream(std::unique_ptr<Impl> impl);
    /// @endcond
    /// Takes over another's stream.
    AsyncLogStream(AsyncLogStream&&) noexcept;
    /// Takes over another's stream.
    AsyncLogStream& operator=(AsyncLogStream&&) noexcept;
    ~AsyncLogStream();

    /// The next event; nothing once the process has ended and all was read (or, without `follow`, after what
    /// is kept). Throws SandboxError (no such process), SandboxServiceError (connection broke and could not
    /// be made anew, or the server has no event ids to go on from).
    Awaitable<std::optional<LogEvent>> next();
    /// Id of the last event that next() returned; from there a later `LogsRequest::from` (plus 1) goes on.
    std::optional<std::int64_t> last_id() const;

  private:
    std::unique_ptr<Impl> impl_;
};

/// Low-level client of one sandbox. Cheap to copy; copies share their idle connections. Modelled on Python's
/// `AsyncSandboxClient`.
///
/// Thread: everything is awaited on `executor`, which one thread runs at a time (a strand, or a one-thread
/// context). Cancellation: cancelling an awaitable closes its connection; the sandbox ends the command of a
/// `run`. Errors, of every method: SandboxServiceError (not reached, 4xx, 5xx), SandboxTimeoutError
/// (`timeout` of silence). 503 is retried as ConnectionInfo says. File methods: SandboxFilesystemError and
/// those below it.
///
/// With g++ before 12.3 name a request before you await: `auto r = RunRequest{…}; co_await client.run(r);`.
/// Those compilers destroy an aggregate temporary inside a co_await expression twice (GCC PR 107288).
class AsyncClient {
  public:
    /// Makes no connection yet. Throws SandboxError when the URL is none.
    AsyncClient(boost::asio::any_io_executor executor, ConnectionInfo info);
    ~AsyncClient();
    /// Shares connections with the other.
    AsyncClient(const AsyncClient&);
    /// Shares connections with the other.
    AsyncClient& operator=(const AsyncClient&);
    /// Takes over.
    AsyncClient(AsyncClient&&) noexcept;
    /// Takes over.
    AsyncClient& operator=(AsyncClient&&) noexcept;

    /// What it was made with.
    const ConnectionInfo& info() const;
    /// What it was made with.
    boost::asio::any_io_executor executor() const;

    /// GET /health. An answer of 503 while draining is an answer, not an error, and is not retried.
    Awaitable<Health> health();
    /// POST /run. `timeout` bounds the command in the sandbox and, 10 s later, the request; without it the
    /// request waits as long as the command runs. SandboxCommandError: could not be started.
    Awaitable<RunResponse> run(RunRequest request);
    /// POST /run_streaming. Returns when the command has been accepted; with `open_stdin` or a terminal, when
    /// it has been started. SandboxCommandError: could not be started, or the server takes no such input.
    Awaitable<AsyncCommandStream> run_streaming(RunRequest request);

    /// POST /write_file.
    Awaitable<> write_file(WriteFileRequest request);
    /// POST /read_file.
    Awaitable<FileInfo> read_file(ReadFileRequest request);
    /// POST /delete_file; directories are refused.
    Awaitable<> delete_file(std::string path);
    /// POST /make_dir: with parents; an existing directory is success.
    Awaitable<> make_dir(std::string path);
    /// POST /delete_dir: with everything in it; a missing one is success.
    Awaitable<> delete_dir(std::string path);
    /// POST /list_dir: names, sorted bytewise, without `.` and `..`.
    Awaitable<std::vector<std::string>> list_dir(std::string path);
    /// POST /stat (extra), symbolic links followed or not.
    Awaitable<FileStat> stat(std::string path, bool follow = true);
    /// POST /move (extra): rename, across file systems too.
    Awaitable<> move(MoveRequest request);
    /// POST /copy (extra): a file, or a directory with everything in it.
    Awaitable<> copy(MoveRequest request);

    /// POST /bind_port. Overrides what was bound. SandboxError: refused.
    Awaitable<BindPortResponse> bind_port(int port);
    /// POST /unbind_port; `port` unbinds only that one. SandboxError: another one is bound.
    Awaitable<> unbind_port(std::optional<int> port = std::nullopt);

    /// POST /start_process. SandboxCommandError: could not be started.
    Awaitable<StartProcessResponse> start_process(StartProcessRequest request);
    /// GET /list_processes, in order of start.
    Awaitable<std::vector<ProcessInfo>> list_processes();
    /// GET /get_process (extra). SandboxError: no such process.
    Awaitable<ProcessDetails> get_process(std::string id);
    /// POST /kill_process: TERM to its tree, KILL after the grace; returns when all of it is gone.
    /// SandboxError: no such process, or nothing of it left.
    Awaitable<> kill_process(std::string id);
    /// POST /signal_process (extra).
    Awaitable<> signal_process(SignalRequest request);
    /// POST /send_stdin (extra). Suspends while the process does not read.
    Awaitable<> send_stdin(SendStdinRequest request);
    /// GET /process_logs_streaming. Connects at the first next().
    AsyncLogStream process_logs(LogsRequest request);
    /// GET /metrics (extra): Prometheus text.
    Awaitable<std::string> metrics();

    /// Whether the server knows the extras, found out once by asking for /stat.
    Awaitable<bool> has_extras();

    /// @cond
    const std::shared_ptr<ClientCore>& core() const { return core_; }
    /// @endcond

  private:
    std::shared_ptr<ClientCore> core_;
};

/// The errors of an awaitable as values: `auto r = co_await as_result(client.health())`. What is no
/// SandboxError, such as cancellation (boost::system::system_error with operation_aborted), still comes as an
/// exception.
template <class T>
Awaitable<Result<T>> as_result(Awaitable<T> operation) {
    std::optional<Error> error;
    try {
        if constexpr (std::is_void_v<T>) {
            co_await std::move(operation);
            co_return Result<void>();
        } else {
            co_return Result<T>(co_await std::move(operation));
        }
    } catch (const SandboxError& e) {
        error = Error::from(e);
    }
    co_return Result<T>(std::move(*error));
}

}  // namespace koyeb::sandbox
