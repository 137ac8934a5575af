#pragma once
/// @file
/// The sandbox as Asio awaitables: commands, files, processes, ports.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "koyeb/sandbox/async_client.hpp"

namespace koyeb::sandbox {

/// A file of the sandbox that was opened. Modelled on Python's `AsyncSandboxFileIO`. It holds nothing open on
/// the other side: each call is a request of its own. Movable.
class AsyncFileHandle {
  public:
    /// @cond
    AsyncFileHandle(AsyncClient client, std::string path, char mode);
    /// @endcond
    /// At most `length` bytes from the handle's position, which moves on; empty at the end of the file.
    /// SandboxFilesystemError: closed, or not opened for reading.
    Awaitable<std::string> read(std::uint64_t length);
    /// Everything from the handle's position to the end.
    Awaitable<std::string> read();
    /// Adds to the end of the file. SandboxFilesystemError: closed, or not opened for writing.
    Awaitable<> write(std::string data);
    /// Further calls throw. Nothing is pending at any time, so nothing can fail here.
    void close();
    /// Whether close() was called.
    bool closed() const { return closed_; }
    /// What was opened.
    const std::string& path() const { return path_; }

  private:
    void check(bool reading) const;
    AsyncClient client_;
    std::string path_;
    char mode_;
    bool closed_ = false;
    std::uint64_t position_ = 0;
};

/// A watched directory. Movable; destroying it ends the watch. Belongs to the client's thread.
class AsyncWatch {
  public:
    /// @cond
    struct Impl;
    explicit AsyncWatch(std::unique_ptr<Impl> impl);
    /// @endcond
    /// Takes over another's watch.
    AsyncWatch(AsyncWatch&&) noexcept;
    /// Takes over another's watch.
    AsyncWatch& operator=(AsyncWatch&&) noexcept;
    ~AsyncWatch();

    /// The next change. Nothing is lost in between, however late this is called. Throws SandboxServiceError
    /// when the connection breaks or the sandbox shuts down: what changes after that goes unseen, so look at
    /// the directory again after a new watch() has returned.
    Awaitable<FileEvent> next();

  private:
    std::unique_ptr<Impl> impl_;
};

/// File operations. Modelled on Python's `AsyncSandboxFilesystem`. Content is bytes throughout and arrives
/// exactly. Errors of all: SandboxFileNotFoundError, SandboxFileExistsError, SandboxFilesystemError with the
/// daemon's text, and those of AsyncClient.
class AsyncFilesystem {
  public:
    /// Operations through this client.
    explicit AsyncFilesystem(AsyncClient client);

    /// Writes a file whole; an existing one is replaced atomically.
    Awaitable<> write_file(std::string path, std::string content, WriteOptions options);
    /// The same with default options. (An overload, because g++ 12 destroys a default argument that is an
    /// aggregate twice when the call stands in a co_await expression.)
    Awaitable<> write_file(std::string path, std::string content);
    /// Reads a file whole. utf8: as text, what is no UTF-8 becomes U+FFFD; base64: exact bytes.
    Awaitable<FileInfo> read_file(std::string path, Encoding encoding = Encoding::utf8);
    /// Reads a file whole, exact bytes.
    Awaitable<std::string> read_bytes(std::string path);
    /// Makes a directory. With `recursive`, parents too, and an existing one is success (as the current
    /// Python SDK always does); without it SandboxFileExistsError and SandboxFileNotFoundError (as the older
    /// one), looked up before and so not atomic.
    Awaitable<> mkdir(std::string path, bool recursive = true);
    /// Names in a directory, sorted bytewise.
    Awaitable<std::vector<std::string>> list_dir(std::string path = ".");
    /// The same.
    Awaitable<std::vector<std::string>> ls(std::string path = ".");
    /// Removes a file; never a directory.
    Awaitable<> delete_file(std::string path);
    /// Removes a directory with everything in it; a missing one is success.
    Awaitable<> delete_dir(std::string path);
    /// Renames.
    Awaitable<> rename_file(std::string old_path, std::string new_path);
    /// Moves, across file systems too.
    Awaitable<> move_file(std::string source_path, std::string destination_path);
    /// Copies a file, or a directory with everything in it.
    Awaitable<> copy_file(std::string source_path, std::string destination_path);
    /// Writes one after the other; stops at the first error, what was written stays.
    Awaitable<> write_files(std::vector<FileToWrite> files);
    /// Whether the path names anything, links followed.
    Awaitable<bool> exists(std::string path);
    /// Whether it names a regular file.
    Awaitable<bool> is_file(std::string path);
    /// Whether it names a directory.
    Awaitable<bool> is_dir(std::string path);
    /// What the path names; with `follow`, what a symbolic link leads to.
    Awaitable<FileStat> stat(std::string path, bool follow = true);
    /// Removes a file, or with `recursive` anything, as `rm -rf` does.
    Awaitable<> rm(std::string path, bool recursive = false);
    /// Sends a local file as raw bytes, in constant memory; the target appears whole at the end, with the
    /// local file's mode. A pipe or a device is read to its end. SandboxFileNotFoundError: no such local
    /// file, or no such directory for it. The local file is read on the awaiting thread.
    Awaitable<> upload_file(std::string local_path, std::string remote_path, ProgressCallback progress = {});
    /// Fetches a file as raw bytes, in constant memory. A connection that breaks is made anew and goes on
    /// where it stopped, unless the file has changed. The local file appears whole at the end, with the mode
    /// of the other, and is written on the awaiting thread.
    Awaitable<> download_file(std::string remote_path, std::string local_path,
                              ProgressCallback progress = {});
    /// Watches a directory, with `recursive` also all below it, those that are made later included. Changes
    /// from the moment this returns are told; of what happens in a new directory before it is watched, what
    /// is still there then. SandboxFileNotFoundError; SandboxFilesystemError: no directory,
    /// or on a network file system. Modelled on E2B's `watchDir`.
    Awaitable<AsyncWatch> watch(std::string path, bool recursive = false);
    /// Opens a file: mode `r`, `w` (emptied or made), `a` (made when missing) or `x` (must not exist); `b`
    /// and `t` behind it mean nothing. SandboxFileNotFoundError, SandboxFileExistsError.
    Awaitable<AsyncFileHandle> open(std::string path, std::string mode = "r");

  private:
    AsyncClient client_;
};

/// One sandbox. Modelled on Python's `AsyncSandbox`. Cheap to copy. Threads and cancellation as AsyncClient.
class AsyncSandbox {
  public:
    /// A sandbox that exists, by its address. Makes no connection yet; SandboxError when the URL is none.
    /// Creating and deleting sandboxes is the platform API's matter and will stand beside this function.
    static AsyncSandbox connect(boost::asio::any_io_executor executor, ConnectionInfo info);
    /// Through this client.
    explicit AsyncSandbox(AsyncClient client);

    /// Runs a shell command to its end. SandboxTimeoutError, with the output so far, when its time is up;
    /// SandboxCommandError when it cannot be started. Cancelling ends the command.
    Awaitable<CommandResult> exec(std::string command, ExecOptions options);
    /// The same with default options.
    Awaitable<CommandResult> exec(std::string command);
    /// Runs a shell command and hands out its output as it comes.
    Awaitable<AsyncCommandStream> exec_stream(std::string command, ExecOptions options);
    /// The same with default options.
    Awaitable<AsyncCommandStream> exec_stream(std::string command);
    /// Runs a shell command on a terminal of its own (a shell: `pty("bash")`): what it shows comes out of
    /// next(), what is typed goes to write(), and resize() follows the window. It ends with the stream:
    /// destroying that hangs up. Errors as exec_stream. Modelled on E2B's `pty.create`.
    Awaitable<AsyncCommandStream> pty(std::string command, PtyOptions options);
    /// The same with default options.
    Awaitable<AsyncCommandStream> pty(std::string command);
    /// File operations.
    AsyncFilesystem filesystem() const;

    /// Starts a background process and returns its id. SandboxCommandError: could not be started.
    Awaitable<std::string> launch_process(std::string command, LaunchOptions options);
    /// The same with default options.
    Awaitable<std::string> launch_process(std::string command);
    /// Ends a process and everything it started: TERM, then KILL. SandboxError: no such process, or it has
    /// ended.
    Awaitable<> kill_process(std::string process_id);
    /// Processes of launch_process, in order of start.
    Awaitable<std::vector<ProcessInfo>> list_processes();
    /// Ends all that run and returns how many those were.
    Awaitable<int> kill_all_processes();
    /// Everything known of a process.
    Awaitable<ProcessDetails> get_process(std::string process_id);
    /// Sends a signal (`SIGINT`) to a process.
    Awaitable<> signal_process(std::string process_id, std::string signal);
    /// Bytes for a process that was launched with `open_stdin`.
    Awaitable<> send_stdin(std::string process_id, std::string data, bool close = false);
    /// A process's log, from event id `from` or from the start of what is kept.
    AsyncLogStream process_logs(std::string process_id, std::optional<std::int64_t> from = std::nullopt,
                                bool follow = true);

    /// Leads the TCP forwarder to a port, instead of what it led to. SandboxError: not within 1 to 65535, or
    /// refused.
    Awaitable<ExposedPort> expose_port(int port);
    /// Leads it nowhere; success when it did so already.
    Awaitable<> unexpose_port();

    /// Waits until the sandbox is healthy: asks after 0.1 s, then twice that, up to `poll_interval`. False
    /// when `timeout` has passed.
    Awaitable<bool> wait_ready(Seconds timeout = Seconds{60}, Seconds poll_interval = Seconds{0.5});
    /// Whether it answers and is healthy. Errors count as no.
    Awaitable<bool> is_healthy();
    /// What /health says (`ok`, `draining`), or `unreachable`. Modelled on `status()` of the older Python
    /// SDK.
    Awaitable<std::string> status();

    /// The client underneath.
    AsyncClient& client() { return client_; }

  private:
    AsyncClient client_;
};

}  // namespace koyeb::sandbox
