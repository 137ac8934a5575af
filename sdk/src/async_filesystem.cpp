// File operations on top of AsyncClient.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <random>
#include <system_error>
#include <utility>

#include "koyeb/sandbox/async_sandbox.hpp"

namespace koyeb::sandbox {
namespace {

constexpr std::size_t kPiece = std::size_t{4} << 20U;

// A descriptor of a local file.
class LocalFile {
  public:
    LocalFile(const std::string& path, int flags)
        : path_(path), fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
        if (fd_ < 0) fail("open", errno);
    }
    ~LocalFile() {
        if (fd_ >= 0) ::close(fd_);
    }
    LocalFile(const LocalFile&) = delete;
    LocalFile& operator=(const LocalFile&) = delete;

    struct stat info() const {
        struct stat info = {};
        if (::fstat(fd_, &info) != 0) fail("stat", errno);
        if (S_ISDIR(info.st_mode)) fail("read", EISDIR);
        return info;
    }
    void set_mode(unsigned mode) {
        if (::fchmod(fd_, mode) != 0) fail("chmod", errno);
    }
    // Less than `length` bytes only at the end of the file.
    std::string read(std::size_t length) {
        std::string bytes(length, '\0');
        std::size_t got = 0;
        while (got < length) {
            const ssize_t n = ::read(fd_, bytes.data() + got, length - got);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) fail("read", errno);
            if (n == 0) break;
            got += static_cast<std::size_t>(n);
        }
        bytes.resize(got);
        return bytes;
    }
    void write(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) fail("write", errno);
            bytes.remove_prefix(static_cast<std::size_t>(n));
        }
    }
    void close() {
        const int fd = std::exchange(fd_, -1);
        if (::close(fd) != 0) fail("close", errno);
    }

  private:
    [[noreturn]] void fail(const char* operation, int error) const {
        const std::string text =
            std::string(operation) + " " + path_ + ": " + std::generic_category().message(error);
        if (error == ENOENT) throw SandboxFileNotFoundError(text);
        if (error == EEXIST) throw SandboxFileExistsError(text);
        throw SandboxFilesystemError(text);
    }

    std::string path_;
    int fd_;
};

// Removes a local file that did not get its final name.
struct Staged {
    explicit Staged(std::string name) : path(std::move(name)) {}
    ~Staged() {
        if (!path.empty()) ::unlink(path.c_str());
    }
    Staged(const Staged&) = delete;
    Staged& operator=(const Staged&) = delete;
    std::string path;
};

// A name beside `path` that nobody else uses.
std::string staging_name(const std::string& path) {
    static constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789";
    std::random_device device;
    std::uniform_int_distribution<std::size_t> pick(0, kLetters.size() - 1);
    std::string tail = ".";
    for (int i = 0; i < 12; ++i) tail += kLetters[pick(device)];
    const std::size_t slash = path.rfind('/');
    const std::size_t name = slash == std::string::npos ? 0 : slash + 1;
    return path.substr(0, name) + "." + path.substr(name) + tail + ".part";
}

std::string shell_word(const std::string& word) {
    std::string result = "'";
    for (const char c : word) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return result + "'";
}

Awaitable<> write_piece(AsyncClient client, std::string path, std::string bytes, bool append,
                        std::optional<unsigned> mode = std::nullopt) {
    WriteFileRequest request;
    request.path = std::move(path);
    request.content = std::move(bytes);
    request.append = append;
    request.mode = mode;
    co_await client.write_file(std::move(request));
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

Awaitable<std::string> read_range(AsyncClient client, std::string path, std::uint64_t offset,
                                  std::uint64_t length) {
    ReadFileRequest request;
    request.path = std::move(path);
    request.encoding = Encoding::base64;
    request.offset = offset;
    request.length = length;
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

// The pieces are gathered beside the target and then moved over it: it is old or new, never half.
Awaitable<> do_upload(AsyncClient client, std::string local, std::string remote, ProgressCallback progress) {
    LocalFile file(local, O_RDONLY);
    const struct stat info = file.info();
    const auto size = static_cast<std::uint64_t>(info.st_size);
    const unsigned mode = info.st_mode & 0777U;
    std::string piece = file.read(kPiece);
    std::uint64_t done = piece.size();
    if (piece.size() < kPiece || !co_await client.has_extras()) {
        while (true) {
            std::string more = file.read(kPiece);
            if (more.empty()) break;
            piece += more;
        }
        done = piece.size();
        co_await write_piece(client, remote, std::move(piece), false, mode);
        if (progress) progress(done, done);
        co_return;
    }
    const std::string staged = staging_name(remote);
    std::exception_ptr failure;
    try {
        co_await write_piece(client, staged, std::move(piece), false, mode);
        if (progress) progress(done, std::max(size, done));
        while (true) {
            piece = file.read(kPiece);
            if (piece.empty()) break;
            done += piece.size();
            co_await write_piece(client, staged, std::move(piece), true);
            if (progress) progress(done, std::max(size, done));
        }
        co_await do_move(client, staged, remote);
    } catch (const SandboxError&) {
        failure = std::current_exception();
    }
    if (!failure) co_return;
    // What goes wrong now says less than the first error.
    co_await as_result(client.delete_file(staged));
    std::rethrow_exception(failure);
}

Awaitable<> do_download(AsyncClient client, std::string remote, std::string local,
                        ProgressCallback progress) {
    std::error_code not_there;
    // A device or a pipe cannot be replaced.
    const auto kind = std::filesystem::status(local, not_there).type();
    const bool in_place =
        kind != std::filesystem::file_type::not_found && kind != std::filesystem::file_type::regular;
    Staged staged(in_place ? std::string() : staging_name(local));
    LocalFile file(in_place ? local : staged.path, O_WRONLY | (in_place ? 0 : O_CREAT | O_EXCL));
    if (co_await client.has_extras()) {
        const FileStat info = co_await client.stat(remote);
        if (!in_place) file.set_mode(info.mode & 0777U);
        std::uint64_t done = 0;
        while (true) {
            const std::string piece = co_await read_range(client, remote, done, kPiece);
            file.write(piece);
            done += piece.size();
            if (progress) progress(done, std::max(info.size, done));
            if (piece.size() < kPiece) break;
        }
    } else {
        ReadFileRequest request;
        request.path = remote;
        const FileInfo info = co_await client.read_file(std::move(request));
        file.write(info.content);
        if (progress) progress(info.content.size(), info.content.size());
    }
    file.close();
    if (in_place) co_return;
    if (::rename(staged.path.c_str(), local.c_str()) != 0)
        throw SandboxFilesystemError("rename " + local + ": " + std::generic_category().message(errno));
    staged.path.clear();
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
    return do_upload(client_, std::move(local_path), std::move(remote_path), std::move(progress));
}
Awaitable<> AsyncFilesystem::download_file(std::string remote_path, std::string local_path,
                                           ProgressCallback progress) {
    return do_download(client_, std::move(remote_path), std::move(local_path), std::move(progress));
}
Awaitable<AsyncFileHandle> AsyncFilesystem::open(std::string path, std::string mode) {
    return do_open(client_, std::move(path), std::move(mode));
}

}  // namespace koyeb::sandbox
