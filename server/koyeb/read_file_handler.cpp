// Reading files. Regular ones are read on a file thread. A FIFO or device may have nothing to say for long:
// it is waited for on the loop.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>

#include "koyeb/encoded_text.hpp"
#include "koyeb/file_request.hpp"
#include "koyeb/handlers.hpp"
#include "platform/wait_readable.hpp"
#include "services/filesystem.hpp"

namespace sandbox::koyeb {
namespace {

constexpr std::size_t kReadPiece = 192 * 1024;  // a multiple of 3 for base64

struct ReadRequest {
    std::string path;
    std::uint64_t offset = 0;
    std::optional<std::uint64_t> length;
    bool base64 = false;
};

Result<ReadRequest> parse_read(const PathRequest& request) {
    const JsonFields& fields = request.body->fields;
    ReadRequest read;
    read.path = request.path;
    std::optional<Error> error;
    read.base64 = take(wants_base64(fields, "encoding"), error);
    const std::int64_t offset = take(value_or(fields.integer("offset")), error);
    const std::optional<std::int64_t> length = take(fields.integer("length"), error);
    if (error) return *error;
    if (offset < 0 || (length && *length < 0)) {
        return Error{Errc::invalid_argument, "offset and length must be 0 or more", 0};
    }
    read.offset = static_cast<std::uint64_t>(offset);
    if (length) read.length = static_cast<std::uint64_t>(*length);
    return read;
}

// Reads until `out` is full or the file ends. Pool thread.
Result<std::size_t> read_full(const files::OpenedFile& file, std::uint64_t offset, std::span<char> out) {
    std::size_t total = 0;
    while (total < out.size()) {
        Result<std::size_t> count = files::read_at(file, offset + total, out.subspan(total));
        if (!count) return count.error();
        if (*count == 0) break;
        total += *count;
    }
    return total;
}

// The same from a stream, as far as something comes until `until`. Only one of its reads is on a pool thread
// at a time, and none of the waiting.
Task<Result<std::size_t>> read_stream(Context& context, const files::OpenedFile& file,
                                      std::chrono::steady_clock::time_point until, std::span<char> out) {
    std::size_t total = 0;
    while (total < out.size()) {
        if (!co_await wait_readable(context.loop, file.fd.get(), until)) break;
        auto job = [&] { return files::read_at(file, 0, out.subspan(total)); };
        Result<std::size_t> count = co_await context.file_pool.run_on(file.path, job);
        if (!count && count.error().sys_errno == EAGAIN) continue;
        if (!count) co_return count.error();
        if (*count == 0) break;
        total += *count;
    }
    co_return total;
}

struct OpenedRead {
    files::OpenedFile file;
    std::string bytes;                                // none yet of a stream
    std::chrono::steady_clock::time_point opened_at;  // a stream is patient from here on
};

// Opening and the first piece cost one trip to the pool; most files are no larger.
Result<OpenedRead> open_and_read(const ReadRequest& request, std::size_t wanted) {
    files::ReadOptions options;
    options.bounded = request.length.has_value();
    Result<files::OpenedFile> file = files::open_for_read(request.path, options);
    if (!file) return file.error();
    OpenedRead first;
    first.file = std::move(*file);
    first.opened_at = std::chrono::steady_clock::now();
    if (first.file.size_known && first.file.kind == files::Kind::file) {
        std::uint64_t left = first.file.size > request.offset ? first.file.size - request.offset : 0;
        wanted = static_cast<std::size_t>(std::min<std::uint64_t>(wanted, left + 1));
    }
    if (first.file.is_stream()) return first;
    first.bytes.resize(wanted);
    Result<std::size_t> count = read_full(first.file, request.offset, first.bytes);
    if (!count) return count.error();
    first.bytes.resize(*count);
    return first;
}

Task<Result<std::size_t>> read_piece(Context& context, const OpenedRead& first, std::uint64_t offset,
                                     std::span<char> out) {
    if (first.file.is_stream())
        return read_stream(context, first.file, first.opened_at + files::kStreamPatience, out);
    auto job = [&first, offset, out] { return read_full(first.file, offset, out); };
    return context.file_pool.run_on(first.file.path, job);
}

const char* content_end(bool base64) {
    return base64 ? "\",\"encoding\":\"base64\"}\n" : "\",\"encoding\":\"utf-8\"}\n";
}

std::size_t piece_size(const ReadRequest& request, std::uint64_t done) {
    if (!request.length) return kReadPiece;
    return static_cast<std::size_t>(std::min<std::uint64_t>(*request.length - done, kReadPiece));
}

Task<> stream_rest(net::Exchange& exchange, Context& context, const ReadRequest& request, OpenedRead first) {
    EncodedText text(request.base64);
    std::string out = "{\"content\":\"";
    std::string piece = std::move(first.bytes);
    std::uint64_t done = 0;
    const bool begun = co_await exchange.begin(200, "application/json");
    if (!begun) co_return;
    while (!piece.empty()) {
        text.append(out, piece);
        done += piece.size();
        if (!co_await exchange.write(out)) co_return;
        out.clear();
        piece.resize(piece_size(request, done));
        Result<std::size_t> count = co_await read_piece(context, first, request.offset + done, piece);
        if (!count) {
            exchange.abort();  // The head is out: the reader must see that the answer is cut.
            co_return;
        }
        piece.resize(*count);
    }
    text.finish(out);
    out += content_end(request.base64);
    if (co_await exchange.write(out)) co_await exchange.finish();
}

}  // namespace

Task<> handle_read_file(net::Exchange& exchange, Context& context) {
    std::unique_ptr<PathRequest> request = co_await read_path(exchange, context);
    if (!request) co_return;
    Result<ReadRequest> read = parse_read(*request);
    if (!read) {
        co_await respond_invalid(exchange, read.error().message);
        co_return;
    }
    std::size_t wanted = piece_size(*read, 0);
    auto job = [&] { return open_and_read(*read, wanted); };
    Result<OpenedRead> first = co_await context.file_pool.run_on(read->path, job);
    if (first && first->file.is_stream()) {
        first->bytes.resize(wanted);
        Result<std::size_t> count = co_await read_piece(context, *first, 0, first->bytes);
        if (count) {
            first->bytes.resize(*count);
        } else {
            first = count.error();
        }
    }
    if (!first) {
        co_await net::respond_error(exchange, 200, first.error().message);
        co_return;
    }
    if (first->bytes.size() == kReadPiece) {
        OpenedRead begun = std::move(*first);
        co_await stream_rest(exchange, context, *read, std::move(begun));
        co_return;
    }
    EncodedText text(read->base64);
    std::string body = "{\"content\":\"";
    text.append(body, first->bytes);
    text.finish(body);
    body += content_end(read->base64);
    co_await exchange.respond(200, "application/json", std::move(body));
}

}  // namespace sandbox::koyeb
