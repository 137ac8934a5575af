#pragma once
/// @file
/// The sandbox, blocking: commands, files, processes, ports.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "koyeb/sandbox/client.hpp"

namespace koyeb::sandbox {

/// A file of the sandbox that was opened; see AsyncFileHandle. Modelled on Python's `SandboxFileIO`.
class FileHandle {
  public:
    /// @cond
    struct Impl;
    explicit FileHandle(std::unique_ptr<Impl> impl);
    /// @endcond
    /// Takes over another's file.
    FileHandle(FileHandle&&) noexcept;
    /// Takes over another's file.
    FileHandle& operator=(FileHandle&&) noexcept;
    ~FileHandle();
    /// At most `length` bytes from the handle's position; empty at the end of the file.
    std::string read(std::uint64_t length);
    /// Everything from the handle's position to the end.
    std::string read();
    /// Adds to the end of the file.
    void write(std::string data);
    /// Further calls throw.
    void close();
    /// Whether close() was called.
    bool closed() const;

  private:
    std::unique_ptr<Impl> impl_;
};

/// A watched directory, blocking; see AsyncWatch.
class Watch {
  public:
    /// @cond
    struct Impl;
    explicit Watch(std::unique_ptr<Impl> impl);
    /// @endcond
    /// Takes over another's watch.
    Watch(Watch&&) noexcept;
    /// Takes over another's watch.
    Watch& operator=(Watch&&) noexcept;
    ~Watch();
    /// Waits for the next change.
    FileEvent next();

  private:
    std::unique_ptr<Impl> impl_;
};

/// File operations, blocking. Modelled on Python's `SandboxFilesystem`. Each does what the method of the same
/// name of AsyncFilesystem does and throws the same errors. Keeps the connection machinery of its sandbox
/// alive.
class Filesystem {
  public:
    /// @cond
    explicit Filesystem(std::shared_ptr<BlockingCore> core);
    /// @endcond
    /// Writes a file whole; an existing one is replaced atomically.
    void write_file(std::string path, std::string content, WriteOptions options = {});
    /// Reads a file whole, as text or (base64) as exact bytes.
    FileInfo read_file(std::string path, Encoding encoding = Encoding::utf8);
    /// Reads a file whole, exact bytes.
    std::string read_bytes(std::string path);
    /// Makes a directory.
    void mkdir(std::string path, bool recursive = true);
    /// Names in a directory, sorted bytewise.
    std::vector<std::string> list_dir(std::string path = ".");
    /// The same.
    std::vector<std::string> ls(std::string path = ".");
    /// Removes a file; never a directory.
    void delete_file(std::string path);
    /// Removes a directory with everything in it; a missing one is success.
    void delete_dir(std::string path);
    /// Renames.
    void rename_file(std::string old_path, std::string new_path);
    /// Moves, across file systems too.
    void move_file(std::string source_path, std::string destination_path);
    /// Copies a file, or a directory with everything in it.
    void copy_file(std::string source_path, std::string destination_path);
    /// Writes one after the other; stops at the first error.
    void write_files(std::vector<FileToWrite> files);
    /// Whether the path names anything, links followed.
    bool exists(std::string path);
    /// Whether it names a regular file.
    bool is_file(std::string path);
    /// Whether it names a directory.
    bool is_dir(std::string path);
    /// What the path names; with `follow`, what a symbolic link leads to.
    FileStat stat(std::string path, bool follow = true);
    /// Removes a file, or with `recursive` anything.
    void rm(std::string path, bool recursive = false);
    /// Sends a local file; the target appears whole at the end.
    void upload_file(std::string local_path, std::string remote_path, ProgressCallback progress = {});
    /// Fetches a file; the local file appears whole at the end.
    void download_file(std::string remote_path, std::string local_path, ProgressCallback progress = {});
    /// Watches a directory, with `recursive` also all below it.
    Watch watch(std::string path, bool recursive = false);
    /// Opens a file: mode `r`, `w`, `a` or `x`.
    FileHandle open(std::string path, std::string mode = "r");

  private:
    std::shared_ptr<BlockingCore> core_;
};

/// One sandbox, blocking. Modelled on Python's `Sandbox`. Each method does what the method of the same name
/// of AsyncSandbox does and throws the same errors. Threads as Client.
class Sandbox {
  public:
    /// A sandbox that exists, by its address. Makes no connection yet; SandboxError when the URL is none.
    static Sandbox connect(ConnectionInfo info);
    ~Sandbox();
    /// Takes over.
    Sandbox(Sandbox&&) noexcept;
    /// Takes over.
    Sandbox& operator=(Sandbox&&) noexcept;

    /// Runs a shell command to its end.
    CommandResult exec(std::string command, ExecOptions options = {});
    /// Runs a shell command and hands out its output as it comes.
    CommandStream exec_stream(std::string command, ExecOptions options = {});
    /// Runs a shell command on a terminal of its own. Type with CommandStream::write().
    CommandStream pty(std::string command, PtyOptions options = {});
    /// File operations.
    Filesystem filesystem() const;
    /// Starts a background process and returns its id.
    std::string launch_process(std::string command, LaunchOptions options = {});
    /// Ends a process and everything it started.
    void kill_process(std::string process_id);
    /// Processes of launch_process, in order of start.
    std::vector<ProcessInfo> list_processes();
    /// Ends all that run and returns how many those were.
    int kill_all_processes();
    /// Everything known of a process.
    ProcessDetails get_process(std::string process_id);
    /// Sends a signal (`SIGINT`) to a process.
    void signal_process(std::string process_id, std::string signal);
    /// Bytes for a process that was launched with `open_stdin`.
    void send_stdin(std::string process_id, std::string data, bool close = false);
    /// A process's log.
    LogStream process_logs(std::string process_id, std::optional<std::int64_t> from = std::nullopt,
                           bool follow = true);
    /// Leads the TCP forwarder to a port.
    ExposedPort expose_port(int port);
    /// Leads it nowhere.
    void unexpose_port();
    /// Waits until the sandbox is healthy; false when `timeout` has passed.
    bool wait_ready(Seconds timeout = Seconds{60}, Seconds poll_interval = Seconds{0.5});
    /// Whether it answers and is healthy.
    bool is_healthy();
    /// What /health says, or `unreachable`.
    std::string status();

  private:
    explicit Sandbox(std::shared_ptr<BlockingCore> core);
    std::shared_ptr<BlockingCore> core_;
};

}  // namespace koyeb::sandbox
