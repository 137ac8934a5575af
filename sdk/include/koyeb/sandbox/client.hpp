#pragma once
/// @file
/// The low-level client, blocking: one method an endpoint.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "koyeb/sandbox/errors.hpp"
#include "koyeb/sandbox/types.hpp"

namespace koyeb::sandbox {

class BlockingCore;

/// The running command of a /run_streaming request, blocking. Movable. Destroying it before its end has the
/// sandbox end the command's whole tree (unless `on_disconnect` said otherwise). Keeps its client's
/// connection machinery alive.
class CommandStream {
  public:
    /// @cond
    struct Impl;
    explicit CommandStream(std::unique_ptr<Impl> impl);
    /// @endcond
    /// Takes over another's command.
    CommandStream(CommandStream&&) noexcept;
    /// Takes over another's command; an own one that runs is ended.
    CommandStream& operator=(CommandStream&&) noexcept;
    ~CommandStream();
    /// See AsyncCommandStream::next().
    std::optional<OutputEvent> next();
    /// See AsyncCommandStream::end().
    const CommandEnd& end() const;
    /// See AsyncCommandStream::write(). This and the two below may be called from another thread while next()
    /// waits, and use a connection of their own.
    void write(std::string data);
    /// See AsyncCommandStream::close_stdin().
    void close_stdin();
    /// See AsyncCommandStream::resize().
    void resize(TerminalSize size);
    /// See AsyncCommandStream::id().
    const std::string& id() const;
    /// See AsyncCommandStream::pid().
    std::int64_t pid() const;

  private:
    std::unique_ptr<Impl> impl_;
};

/// A process's log, blocking. See AsyncLogStream.
class LogStream {
  public:
    /// @cond
    struct Impl;
    explicit LogStream(std::unique_ptr<Impl> impl);
    /// @endcond
    /// Takes over another's stream.
    LogStream(LogStream&&) noexcept;
    /// Takes over another's stream.
    LogStream& operator=(LogStream&&) noexcept;
    ~LogStream();
    /// See AsyncLogStream::next().
    std::optional<LogEvent> next();
    /// See AsyncLogStream::last_id().
    std::optional<std::int64_t> last_id() const;

  private:
    std::unique_ptr<Impl> impl_;
};

/// Low-level client of one sandbox, blocking. Modelled on Python's `SandboxClient`. Each method does what the
/// method of the same name of AsyncClient does and throws the same errors.
///
/// Threads: calls from several threads take turns, so give each thread that waits long a client of its own. A
/// callback may call the client it was called from.
class Client {
  public:
    /// Makes no connection yet. Throws SandboxError when the URL is none.
    explicit Client(ConnectionInfo info);
    ~Client();
    /// Takes over.
    Client(Client&&) noexcept;
    /// Takes over.
    Client& operator=(Client&&) noexcept;

    /// What it was made with.
    const ConnectionInfo& info() const;

    /// GET /health.
    Health health();
    /// POST /run.
    RunResponse run(RunRequest request);
    /// POST /run_streaming.
    CommandStream run_streaming(RunRequest request);
    /// POST /write_file.
    void write_file(WriteFileRequest request);
    /// POST /read_file.
    FileInfo read_file(ReadFileRequest request);
    /// POST /delete_file.
    void delete_file(std::string path);
    /// POST /make_dir.
    void make_dir(std::string path);
    /// POST /delete_dir.
    void delete_dir(std::string path);
    /// POST /list_dir.
    std::vector<std::string> list_dir(std::string path);
    /// POST /stat (extra), symbolic links followed or not.
    FileStat stat(std::string path, bool follow = true);
    /// POST /move (extra).
    void move(MoveRequest request);
    /// POST /copy (extra).
    void copy(MoveRequest request);
    /// POST /bind_port.
    BindPortResponse bind_port(int port);
    /// POST /unbind_port.
    void unbind_port(std::optional<int> port = std::nullopt);
    /// POST /start_process.
    StartProcessResponse start_process(StartProcessRequest request);
    /// GET /list_processes.
    std::vector<ProcessInfo> list_processes();
    /// GET /get_process (extra).
    ProcessDetails get_process(std::string id);
    /// POST /kill_process.
    void kill_process(std::string id);
    /// POST /signal_process (extra).
    void signal_process(SignalRequest request);
    /// POST /send_stdin (extra).
    void send_stdin(SendStdinRequest request);
    /// GET /process_logs_streaming.
    LogStream process_logs(LogsRequest request);
    /// GET /metrics (extra).
    std::string metrics();

  private:
    std::shared_ptr<BlockingCore> core_;
};

}  // namespace koyeb::sandbox
