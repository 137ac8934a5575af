#include "transfer.hpp"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "codec.hpp"
#include "core.hpp"
#include "local_file.hpp"

namespace koyeb::sandbox {
namespace {

constexpr std::size_t kSmall = std::size_t{1} << 20U;  // goes in one request of the JSON API
constexpr std::size_t kChunk = std::size_t{256} << 10U;
constexpr int kMaxBreaks = 8;  // of a download, without a byte in between
constexpr Seconds kFirstWait{0.1};
constexpr Seconds kLongestWait{2};
constexpr double kSlowestDisk = 10e6;  // bytes a second, of a sandbox that puts an upload in its place

std::string parent_of(const std::string& path) {
    const std::size_t slash = path.find_last_of('/', path.find_last_not_of('/'));
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

// Whose a new file is, as the envd API has to be told: by itself it would give it to an account of its own. A
// daemon that is not root gives files to nobody, and needs no name.
Awaitable<std::string> default_owner(AsyncClient client) {
    const Result<std::string> status = co_await as_result(read_range(client, "/proc/self/status", 0, 4096));
    const bool root = status && status.value().find("\nUid:\t0\t") != std::string::npos;
    co_return root ? std::string("root") : std::string();
}

// The owner of what is there, or of what will be. Throws what is wrong with the target.
Awaitable<std::string> settle_owner(AsyncClient client, std::string path) {
    const std::string owner = co_await default_owner(client);
    const Result<FileStat> info = co_await as_result(client.stat(path));
    if (!info && info.error().kind != ErrorKind::file_not_found) info.error().raise();
    if (info && info.value().type == FileType::directory)
        throw SandboxFilesystemError("open " + path + ": is a directory");
    if (info) co_return owner.empty() || info.value().user.empty() ? owner : info.value().user;
    const Result<FileStat> parent = co_await as_result(client.stat(parent_of(path)));
    if (!parent && parent.error().kind == ErrorKind::file_not_found)
        throw SandboxFileNotFoundError("open " + path + ": no such file or directory");
    if (parent.value().type != FileType::directory)
        throw SandboxFilesystemError("open " + path + ": not a directory");
    co_return owner;
}

void check_rest(int status, std::string_view body, const std::string& operation) {
    if (status >= 200 && status < 300) return;
    std::string text = codec::error_text(body);
    if (status == 404) throw SandboxFileNotFoundError(operation + ": no such file or directory");
    if (status == 400 || status == 500 || status == 507) codec::throw_file_error(text);
    check_status(status, body);
}

std::string files_target(const std::string& path, const std::string& user) {
    std::string target = "/files?path=" + percent_encode(path);
    if (!user.empty()) target += "&username=" + percent_encode(user);
    return target;
}

// The file's bytes as the body of one request. Sent again after a 503, if the file can be read again.
Awaitable<> send_raw(AsyncClient client, LocalFile& file, std::string first, std::string remote,
                     std::uint64_t size, ProgressCallback progress) {
    const std::shared_ptr<ClientCore>& core = client.core();
    const std::string owner = co_await settle_owner(client, remote);
    const std::string path = co_await absolute_path(client, remote);
    std::uint64_t done = 0;
    Seconds wait = core->info().retry_backoff;
    for (int attempt = 0;; ++attempt) {
        HttpRequest request = core->post(files_target(path, owner), {}, "application/octet-stream");
        *request.patience.silence += Seconds(static_cast<double>(size) / kSlowestDisk);
        request.body_source = [&file, &first, &done, &progress, size] {
            std::string piece = first.empty() ? file.read(kChunk) : std::exchange(first, std::string());
            done += piece.size();
            if (progress && !piece.empty()) progress(done, std::max(size, done));
            return piece;
        };
        HttpExchange exchange = co_await core->send_once(std::move(request));
        const int status = exchange.status();
        const std::string body = co_await exchange.read_all();
        if (status != 503 || attempt >= core->info().retries || !file.rewind()) {
            check_rest(status, body, "open " + remote);
            co_return;
        }
        first.clear();
        done = 0;
        co_await Transport::pause(wait);
        wait *= 2;
    }
}

// A download that goes on after a break.
struct Download {
    Download(std::shared_ptr<ClientCore> client, std::string file, std::string where)
        : core(std::move(client)), path(std::move(file)), target(std::move(where)) {}

    std::shared_ptr<ClientCore> core;
    std::string path;
    std::string target;
    std::string version;  // the entity tag of what was begun
    std::uint64_t done = 0;
    int breaks = 0;
    std::optional<HttpExchange> exchange;

    Awaitable<> open();
    Awaitable<std::string> read();
};

Awaitable<> Download::open() {
    HttpRequest request = core->get(target);
    if (done > 0) {
        request.headers.emplace_back("Range", "bytes=" + std::to_string(done) + "-");
        request.headers.emplace_back("If-Range", version);
    }
    HttpExchange opened = co_await core->open(std::move(request));
    const int status = opened.status();
    if (done > 0 && status != 206)
        throw SandboxFilesystemError("read " + path + ": changed during the transfer");
    if (status != 200 && status != 206) {
        const std::string body = co_await opened.read_all();
        check_rest(status, body, "open " + path);
    }
    version = opened.header("ETag");
    exchange.emplace(std::move(opened));
}

// Empty at the end.
Awaitable<std::string> Download::read() {
    for (Seconds wait = kFirstWait;; wait = std::min(wait * 2, kLongestWait)) {
        std::exception_ptr broken;
        try {
            if (!exchange) co_await open();
            std::string piece = co_await exchange->read_piece();
            done += piece.size();
            if (!piece.empty()) breaks = 0;
            co_return piece;
        } catch (const SandboxServiceError& error) {
            // An answer is an answer; without a version there is nothing to go on from.
            if (error.status_code() != 0 || version.empty() || ++breaks > kMaxBreaks) throw;
            broken = std::current_exception();
        }
        exchange.reset();
        if (breaks > 1) co_await Transport::pause(wait);
    }
}

Awaitable<> receive_raw(AsyncClient client, StagedFile& file, std::string remote, std::uint64_t size,
                        ProgressCallback progress) {
    const std::string path = co_await absolute_path(client, remote);
    Download download(client.core(), remote, files_target(path, {}));
    while (true) {
        const std::string piece = co_await download.read();
        if (piece.empty()) break;
        file.write(piece);
        if (progress) progress(download.done, std::max(size, download.done));
    }
    if (progress && download.done == 0) progress(0, 0);
}

// What is no regular file, in as many requests as it has pieces.
Awaitable<> receive_pieces(AsyncClient client, StagedFile& file, std::string remote,
                           ProgressCallback progress) {
    for (std::uint64_t done = 0;;) {
        const std::string piece = co_await read_range(client, remote, done, kPiece);
        file.write(piece);
        done += piece.size();
        if (progress) progress(done, done);
        if (piece.size() < kPiece) break;
    }
}

// From a server that has no other way.
Awaitable<> receive_text(AsyncClient client, StagedFile& file, std::string remote,
                         ProgressCallback progress) {
    ReadFileRequest request;
    request.path = std::move(remote);
    const FileInfo info = co_await client.read_file(std::move(request));
    file.write(info.content);
    if (progress) progress(info.content.size(), info.content.size());
}

}  // namespace

Awaitable<> write_piece(AsyncClient client, std::string path, std::string bytes, bool append,
                        std::optional<unsigned> mode) {
    WriteFileRequest request;
    request.path = std::move(path);
    request.content = std::move(bytes);
    request.append = append;
    request.mode = mode;
    co_await client.write_file(std::move(request));
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

Awaitable<std::string> absolute_path(AsyncClient client, std::string path) {
    if (path.starts_with('/')) co_return path;
    const FileStat link = co_await client.stat("/proc/self/cwd", false);
    co_return link.target + "/" + path;
}

Awaitable<> upload(AsyncClient client, std::string local, std::string remote, ProgressCallback progress) {
    LocalFile file(local, O_RDONLY);
    const struct stat info = file.info();
    const auto size = static_cast<std::uint64_t>(info.st_size);
    const unsigned mode = info.st_mode & 0777U;
    std::string first = file.read(kSmall);
    const bool raw = first.size() == kSmall && co_await client.has_extras();
    if (raw) {
        co_await send_raw(client, file, std::move(first), remote, size, std::move(progress));
        co_await write_piece(client, remote, std::string(), true, mode);
        co_return;
    }
    while (true) {
        const std::string more = file.read(kPiece);
        if (more.empty()) break;
        first += more;
    }
    const std::uint64_t done = first.size();
    co_await write_piece(client, remote, std::move(first), false, mode);
    if (progress) progress(done, done);
}

Awaitable<> download(AsyncClient client, std::string remote, std::string local, ProgressCallback progress) {
    StagedFile file(local);
    if (!co_await client.has_extras()) {
        co_await receive_text(client, file, remote, std::move(progress));
    } else {
        const FileStat info = co_await client.stat(remote);
        file.set_mode(info.mode & 0777U);
        if (info.type == FileType::other) {
            co_await receive_pieces(client, file, remote, std::move(progress));
        } else {
            co_await receive_raw(client, file, remote, info.size, std::move(progress));
        }
    }
    file.finish();
}

}  // namespace koyeb::sandbox
