#include "koyeb/sandbox/sandbox.hpp"

#include <utility>

#include "streams.hpp"

namespace koyeb::sandbox {

struct FileHandle::Impl : Held<AsyncFileHandle> {
    using Held::Held;
};

FileHandle::FileHandle(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FileHandle::FileHandle(FileHandle&&) noexcept = default;
FileHandle& FileHandle::operator=(FileHandle&&) noexcept = default;
FileHandle::~FileHandle() = default;
std::string FileHandle::read(std::uint64_t length) { return impl_->core->run(impl_->stream->read(length)); }
std::string FileHandle::read() { return impl_->core->run(impl_->stream->read()); }
void FileHandle::write(std::string data) { impl_->core->run(impl_->stream->write(std::move(data))); }
void FileHandle::close() { impl_->stream->close(); }
bool FileHandle::closed() const { return impl_->stream->closed(); }

struct Watch::Impl : Held<AsyncWatch> {
    using Held::Held;
};

Watch::Watch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Watch::Watch(Watch&&) noexcept = default;
Watch& Watch::operator=(Watch&&) noexcept = default;
Watch::~Watch() = default;
FileEvent Watch::next() { return impl_->core->run(impl_->stream->next()); }

namespace {

AsyncFilesystem files(BlockingCore& core) { return AsyncFilesystem(core.client()); }

}  // namespace

Filesystem::Filesystem(std::shared_ptr<BlockingCore> core) : core_(std::move(core)) {}
void Filesystem::write_file(std::string path, std::string content, WriteOptions options) {
    core_->run(files(*core_).write_file(std::move(path), std::move(content), options));
}
FileInfo Filesystem::read_file(std::string path, Encoding encoding) {
    return core_->run(files(*core_).read_file(std::move(path), encoding));
}
std::string Filesystem::read_bytes(std::string path) {
    return core_->run(files(*core_).read_bytes(std::move(path)));
}
void Filesystem::mkdir(std::string path, bool recursive) {
    core_->run(files(*core_).mkdir(std::move(path), recursive));
}
std::vector<std::string> Filesystem::list_dir(std::string path) {
    return core_->run(files(*core_).list_dir(std::move(path)));
}
std::vector<std::string> Filesystem::ls(std::string path) { return list_dir(std::move(path)); }
void Filesystem::delete_file(std::string path) { core_->run(files(*core_).delete_file(std::move(path))); }
void Filesystem::delete_dir(std::string path) { core_->run(files(*core_).delete_dir(std::move(path))); }
void Filesystem::rename_file(std::string old_path, std::string new_path) {
    core_->run(files(*core_).rename_file(std::move(old_path), std::move(new_path)));
}
void Filesystem::move_file(std::string source_path, std::string destination_path) {
    core_->run(files(*core_).move_file(std::move(source_path), std::move(destination_path)));
}
void Filesystem::copy_file(std::string source_path, std::string destination_path) {
    core_->run(files(*core_).copy_file(std::move(source_path), std::move(destination_path)));
}
void Filesystem::write_files(std::vector<FileToWrite> list) {
    core_->run(files(*core_).write_files(std::move(list)));
}
bool Filesystem::exists(std::string path) { return core_->run(files(*core_).exists(std::move(path))); }
bool Filesystem::is_file(std::string path) { return core_->run(files(*core_).is_file(std::move(path))); }
bool Filesystem::is_dir(std::string path) { return core_->run(files(*core_).is_dir(std::move(path))); }
FileStat Filesystem::stat(std::string path, bool follow) {
    return core_->run(files(*core_).stat(std::move(path), follow));
}
void Filesystem::rm(std::string path, bool recursive) {
    core_->run(files(*core_).rm(std::move(path), recursive));
}
void Filesystem::upload_file(std::string local_path, std::string remote_path, ProgressCallback progress) {
    core_->run(files(*core_).upload_file(std::move(local_path), std::move(remote_path), std::move(progress)));
}
void Filesystem::download_file(std::string remote_path, std::string local_path, ProgressCallback progress) {
    core_->run(
        files(*core_).download_file(std::move(remote_path), std::move(local_path), std::move(progress)));
}
Watch Filesystem::watch(std::string path, bool recursive) {
    AsyncWatch watch = core_->run(files(*core_).watch(std::move(path), recursive));
    return Watch(std::make_unique<Watch::Impl>(core_, std::move(watch)));
}
FileHandle Filesystem::open(std::string path, std::string mode) {
    AsyncFileHandle handle = core_->run(files(*core_).open(std::move(path), std::move(mode)));
    return FileHandle(std::make_unique<FileHandle::Impl>(core_, std::move(handle)));
}

Sandbox Sandbox::connect(ConnectionInfo info) {
    return Sandbox(std::make_shared<BlockingCore>(std::move(info)));
}
Sandbox::Sandbox(std::shared_ptr<BlockingCore> core) : core_(std::move(core)) {}
Sandbox::~Sandbox() = default;
Sandbox::Sandbox(Sandbox&&) noexcept = default;
Sandbox& Sandbox::operator=(Sandbox&&) noexcept = default;

CommandResult Sandbox::exec(std::string command, ExecOptions options) {
    return core_->run(core_->sandbox().exec(std::move(command), std::move(options)));
}
CommandStream Sandbox::exec_stream(std::string command, ExecOptions options) {
    AsyncCommandStream stream =
        core_->run(core_->sandbox().exec_stream(std::move(command), std::move(options)));
    return CommandStream(std::make_unique<CommandStream::Impl>(core_, std::move(stream)));
}
CommandStream Sandbox::pty(std::string command, PtyOptions options) {
    AsyncCommandStream stream = core_->run(core_->sandbox().pty(std::move(command), std::move(options)));
    return CommandStream(std::make_unique<CommandStream::Impl>(core_, std::move(stream)));
}
Filesystem Sandbox::filesystem() const { return Filesystem(core_); }
std::string Sandbox::launch_process(std::string command, LaunchOptions options) {
    return core_->run(core_->sandbox().launch_process(std::move(command), std::move(options)));
}
void Sandbox::kill_process(std::string process_id) {
    core_->run(core_->sandbox().kill_process(std::move(process_id)));
}
std::vector<ProcessInfo> Sandbox::list_processes() { return core_->run(core_->sandbox().list_processes()); }
int Sandbox::kill_all_processes() { return core_->run(core_->sandbox().kill_all_processes()); }
ProcessDetails Sandbox::get_process(std::string process_id) {
    return core_->run(core_->sandbox().get_process(std::move(process_id)));
}
void Sandbox::signal_process(std::string process_id, std::string signal) {
    core_->run(core_->sandbox().signal_process(std::move(process_id), std::move(signal)));
}
void Sandbox::send_stdin(std::string process_id, std::string data, bool close) {
    core_->run(core_->sandbox().send_stdin(std::move(process_id), std::move(data), close));
}
LogStream Sandbox::process_logs(std::string process_id, std::optional<std::int64_t> from, bool follow) {
    AsyncLogStream stream = core_->sandbox().process_logs(std::move(process_id), from, follow);
    return LogStream(std::make_unique<LogStream::Impl>(core_, std::move(stream)));
}
ExposedPort Sandbox::expose_port(int port) { return core_->run(core_->sandbox().expose_port(port)); }
void Sandbox::unexpose_port() { core_->run(core_->sandbox().unexpose_port()); }
bool Sandbox::wait_ready(Seconds timeout, Seconds poll_interval) {
    return core_->run(core_->sandbox().wait_ready(timeout, poll_interval));
}
bool Sandbox::is_healthy() { return core_->run(core_->sandbox().is_healthy()); }
std::string Sandbox::status() { return core_->run(core_->sandbox().status()); }

}  // namespace koyeb::sandbox
