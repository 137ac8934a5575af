// File operations on top of AsyncClient.

#include <filesystem>
#include <utility>

#include "transfer.hpp"

namespace koyeb::sandbox {
namespace {

std::string shell_word(const std::string& word) {
    std::string result = "'";
    for (const char c : word) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return result + "'";
}

Awaitable<> do_write(AsyncClient client, std::string path, std::string content, WriteOptions options) {
    WriteFileRequest request;
    request.path = std::move(path);
    request.content = std::move(content);
    request.append = options.append;
    request.mode = options.mode;
    request.create_parents = options.create_parents;
    co_await client.write_file(std::move(request));
}

// On a server without /stat and /move the shell has to do. 0 for yes.
Awaitable<int> shell(AsyncClient client, std::string command, std::string* said) {
    RunRequest request;
    request.cmd = std::move(command);
    RunResponse response = co_await client.run(std::move(request));
    if (said != nullptr) *said = response.stderr_data;
    co_return response.end.exit_code;
}

Awaitable<bool> test(AsyncClient client, std::string path, char what) {
    if (!co_await client.has_extras()) {
        std::string command = std::string("test -") + what + " " + shell_word(path);
        const int code = co_await shell(client, std::move(command), nullptr);
        co_return code == 0;
    }
    const Result<FileStat> info = co_await as_result(client.stat(path));
    if (info) {
        const FileType type = info.value().type;
        co_return what == 'e' || (what == 'f' && type == FileType::file) ||
            (what == 'd' && type == FileType::directory);
    }
    const Error& error = info.error();
    // `a/b` where `a` is a file: nothing there either.
    const bool nothing =
        error.kind == ErrorKind::file_not_found ||
        (error.kind == ErrorKind::filesystem && error.message.find("not a directory") != std::string::npos);
    if (!nothing) error.raise();
    co_return false;
}

Awaitable<> do_move(AsyncClient client, std::string from, std::string to) {
    if (co_await client.has_extras()) {
        MoveRequest request;
        request.source = std::move(from);
        request.destination = std::move(to);
        co_await client.move(std::move(request));
        co_return;
    }
    std::string said;
    std::string command = "mv -- " + shell_word(from) + " " + shell_word(to);
    const int code = co_await shell(client, std::move(command), &said);
    if (code == 0) co_return;
    if (said.find("No such file") != std::string::npos) throw SandboxFileNotFoundError(said);
    throw SandboxFilesystemError(said);
}

Awaitable<> do_mkdir(AsyncClient client, std::string path, bool recursive) {
    if (!recursive) {
        if (co_await test(client, path, 'e')) throw SandboxFileExistsError("mkdir " + path + ": file exists");
        const std::string parent = std::filesystem::path(path).parent_path().string();
        if (!parent.empty() && !co_await test(client, parent, 'd'))
            throw SandboxFileNotFoundError("mkdir " + path + ": no such file or directory");
    }
    co_await client.make_dir(path);
}

Awaitable<std::string> do_read_bytes(AsyncClient client, std::string path) {
    ReadFileRequest request;
    request.path = std::move(path);
    request.encoding = Encoding::base64;
    FileInfo info = co_await client.read_file(std::move(request));
    co_return std::move(info.content);
}

Awaitable<> do_write_files(AsyncClient client, std::vector<FileToWrite> files) {
    for (FileToWrite& file : files)
        co_await write_piece(client, std::move(file.path), std::move(file.content), false);
}

Awaitable<> do_rm(AsyncClient client, std::string path, bool recursive) {
    if (!recursive) {
        co_await client.delete_file(path);
        co_return;
    }
    bool is_file = false;
    try {
        co_await client.delete_dir(path);
    } catch (const SandboxFilesystemError& error) {
        if (std::string_view(error.what()).find("not a directory") == std::string_view::npos) throw;
        is_file = true;
    }
    if (is_file) co_await client.delete_file(path);
}

Awaitable<AsyncFileHandle> do_open(AsyncClient client, std::string path, std::string mode) {
    const char kind = mode.empty() ? ' ' : mode.front();
    if (std::string_view("rwax").find(kind) == std::string_view::npos ||
        mode.find_first_not_of("bt", 1) != std::string::npos)
        throw SandboxFilesystemError("open " + path + ": unknown mode " + mode);
    if (kind == 'r') {
        // For the error, if there is one.
        co_await read_range(client, path, 0, 1);
    } else if (kind == 'x') {
        if (co_await test(client, path, 'e')) throw SandboxFileExistsError("open " + path + ": file exists");
    }
    if (kind != 'r') co_await write_piece(client, path, std::string(), kind == 'a');
    co_return AsyncFileHandle(client, path, kind);
}

// Of a handle's reads: to the end in pieces, or one piece of at most `length`.
Awaitable<std::string> read_to_end(AsyncClient client, std::string path, std::uint64_t offset) {
    std::string all;
    while (true) {
        const std::string piece = co_await read_range(client, path, offset + all.size(), kPiece);
        all += piece;
        if (piece.size() < kPiece) co_return all;
    }
}

Awaitable<FileInfo> do_read_file(AsyncClient client, std::string path, Encoding encoding) {
    ReadFileRequest request;
    request.path = std::move(path);
    request.encoding = encoding;
    co_return co_await client.read_file(std::move(request));
}

}  // namespace

AsyncFileHandle::AsyncFileHandle(AsyncClient client, std::string path, char mode)
    : client_(std::move(client)), path_(std::move(path)), mode_(mode) {}

void AsyncFileHandle::check(bool reading) const {
    if (closed_) throw SandboxFilesystemError("file " + path_ + " is closed");
    if (reading != (mode_ == 'r')) {
        throw SandboxFilesystemError("file " + path_ +
                                     (reading ? " is not open for reading" : " is not open for writing"));
    }
}

Awaitable<std::string> AsyncFileHandle::read(std::uint64_t length) {
    check(true);
    std::string bytes = co_await read_range(client_, path_, position_, length);
    position_ += bytes.size();
    co_return bytes;
}

Awaitable<std::string> AsyncFileHandle::read() {
    check(true);
    std::string bytes = co_await read_to_end(client_, path_, position_);
    position_ += bytes.size();
    co_return bytes;
}

Awaitable<> AsyncFileHandle::write(std::string data) {
    check(false);
    co_await write_piece(client_, path_, std::move(data), true);
}

void AsyncFileHandle::close() { closed_ = true; }

AsyncFilesystem::AsyncFilesystem(AsyncClient client) : client_(std::move(client)) {}

Awaitable<> AsyncFilesystem::write_file(std::string path, std::string content, WriteOptions options) {
    return do_write(client_, std::move(path), std::move(content), options);
}
Awaitable<> AsyncFilesystem::write_file(std::string path, std::string content) {
    return write_file(std::move(path), std::move(content), WriteOptions());
}
Awaitable<FileInfo> AsyncFilesystem::read_file(std::string path, Encoding encoding) {
    return do_read_file(client_, std::move(path), encoding);
}
Awaitable<std::string> AsyncFilesystem::read_bytes(std::string path) {
    return do_read_bytes(client_, std::move(path));
}
Awaitable<> AsyncFilesystem::mkdir(std::string path, bool recursive) {
    return do_mkdir(client_, std::move(path), recursive);
}
Awaitable<std::vector<std::string>> AsyncFilesystem::list_dir(std::string path) {
    return client_.list_dir(std::move(path));
}
Awaitable<std::vector<std::string>> AsyncFilesystem::ls(std::string path) {
    return client_.list_dir(std::move(path));
}
Awaitable<> AsyncFilesystem::delete_file(std::string path) { return client_.delete_file(std::move(path)); }
Awaitable<> AsyncFilesystem::delete_dir(std::string path) { return client_.delete_dir(std::move(path)); }
Awaitable<> AsyncFilesystem::rename_file(std::string old_path, std::string new_path) {
    return do_move(client_, std::move(old_path), std::move(new_path));
}
Awaitable<> AsyncFilesystem::move_file(std::string source_path, std::string destination_path) {
    return do_move(client_, std::move(source_path), std::move(destination_path));
}
Awaitable<> AsyncFilesystem::copy_file(std::string source_path, std::string destination_path) {
    MoveRequest request;
    request.source = std::move(source_path);
    request.destination = std::move(destination_path);
    return client_.copy(std::move(request));
}
Awaitable<> AsyncFilesystem::write_files(std::vector<FileToWrite> files) {
    return do_write_files(client_, std::move(files));
}
Awaitable<bool> AsyncFilesystem::exists(std::string path) { return test(client_, std::move(path), 'e'); }
Awaitable<bool> AsyncFilesystem::is_file(std::string path) { return test(client_, std::move(path), 'f'); }
Awaitable<bool> AsyncFilesystem::is_dir(std::string path) { return test(client_, std::move(path), 'd'); }
Awaitable<FileStat> AsyncFilesystem::stat(std::string path, bool follow) {
    return client_.stat(std::move(path), follow);
}
Awaitable<> AsyncFilesystem::rm(std::string path, bool recursive) {
    return do_rm(client_, std::move(path), recursive);
}
Awaitable<> AsyncFilesystem::upload_file(std::string local_path, std::string remote_path,
                                         ProgressCallback progress) {
    return upload(client_, std::move(local_path), std::move(remote_path), std::move(progress));
}
Awaitable<> AsyncFilesystem::download_file(std::string remote_path, std::string local_path,
                                           ProgressCallback progress) {
    return download(client_, std::move(remote_path), std::move(local_path), std::move(progress));
}
Awaitable<AsyncWatch> AsyncFilesystem::watch(std::string path, bool recursive) {
    return sandbox::watch(client_, std::move(path), recursive);
}
Awaitable<AsyncFileHandle> AsyncFilesystem::open(std::string path, std::string mode) {
    return do_open(client_, std::move(path), std::move(mode));
}

}  // namespace koyeb::sandbox
