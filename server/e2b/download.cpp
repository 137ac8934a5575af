// GET /files.

#include <cerrno>

#include "base/rfc3339.hpp"
#include "e2b/deflate.hpp"
#include "e2b/handlers.hpp"
#include "e2b/http_values.hpp"
#include "e2b/rest.hpp"

namespace sandbox::e2b {
namespace {

constexpr std::size_t kPiece = 256 * 1024;
constexpr std::size_t kSniffed = 512;

struct Opened {
    files::OpenedFile file;
    std::string first_bytes;
    std::string path;
};

RestReply<Opened> open_file(const Caller& caller, const std::string& path) {
    RestReply<User> user = rest_account(caller);
    if (!user) return user.error();
    RestReply<std::string> resolved = rest_path(path, *user, caller);
    if (!resolved) return resolved.error();
    Opened opened;
    opened.path = std::move(*resolved);
    Result<files::OpenedFile> file = files::open_for_read(opened.path);
    if (!file) {
        int error = file.error().sys_errno;
        if (error == EISDIR) return RestError{400, "path '" + opened.path + "' is a directory"};
        if (file.error().code == Errc::not_found)
            return RestError{404, "path '" + opened.path + "' does not exist"};
        return RestError{500, file.error().message};
    }
    opened.file = std::move(*file);
    opened.first_bytes.resize(kSniffed);
    Result<std::size_t> count = files::read_at(opened.file, 0, opened.first_bytes);
    if (!count) return RestError{500, count.error().message};
    opened.first_bytes.resize(*count);
    return opened;
}

// Whether an If-Match or If-None-Match names the file as it is now.
bool names(std::string_view header, std::string_view etag) {
    return header == "*" || header.find(etag) != std::string_view::npos;
}

// The status by the conditions of a request (RFC 9110 13.2.2): 412, 304, or 0 to go on.
int check_conditions(const net::Request& request, std::string_view etag, std::int64_t modified) {
    const std::string* match = request.header("if-match");
    const std::string* unmodified = request.header("if-unmodified-since");
    if (match != nullptr) {
        if (!names(*match, etag)) return 412;
    } else if (unmodified != nullptr) {
        std::optional<std::int64_t> since = parse_http_date(*unmodified);
        if (since && modified > *since) return 412;
    }
    const std::string* none_match = request.header("if-none-match");
    const std::string* changed = request.header("if-modified-since");
    if (none_match != nullptr) return names(*none_match, etag) ? 304 : 0;
    if (changed != nullptr) {
        std::optional<std::int64_t> since = parse_http_date(*changed);
        if (since && modified <= *since) return 304;
    }
    return 0;
}

// Whether a range counts, or the file is another one than the client began with.
bool range_applies(const net::Request& request, std::string_view etag, std::int64_t modified) {
    const std::string* condition = request.header("if-range");
    if (condition == nullptr) return true;
    if (condition->starts_with('"')) return *condition == etag;
    return parse_http_date(*condition) == modified;
}

// From the beginning to wherever the end is: of what has no size, and of what is compressed on the way.
Task<> stream_content(net::Exchange& exchange, Context& context, const files::OpenedFile& file,
                      GzipEncoder* gzip) {
    std::string piece;
    std::string encoded;
    for (std::uint64_t offset = 0;;) {
        auto job = [&]() -> Result<std::size_t> {
            piece.resize(kPiece);
            Result<std::size_t> count = files::read_at(file, offset, piece);
            if (!count) return count;
            piece.resize(*count);
            if (gzip == nullptr) {
                piece.swap(encoded);
            } else if (*count > 0) {
                gzip->encode(piece, encoded);
            } else {
                gzip->finish(encoded);
            }
            return count;
        };
        Result<std::size_t> count = co_await context.file_pool.run_on(file.path, job);
        if (!count) {
            exchange.abort();  // The head is out: the reader must see that the answer is cut.
            co_return;
        }
        offset += *count;
        if (!encoded.empty() && !co_await exchange.write(encoded)) co_return;
        if (*count == 0) break;
    }
    co_await exchange.finish();
}

// Whether a request is about a part or a certain state of the file, which are those of its own bytes.
bool wants_own_bytes(const net::Request& request) {
    for (const char* name :
         {"range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"}) {
        if (request.header(name) != nullptr) return true;
    }
    return false;
}

Task<> send_file(net::Exchange& exchange, Context& context, const Opened& opened, bool compressed) {
    const net::Request& request = exchange.request();
    const files::OpenedFile& file = opened.file;
    const std::int64_t ns = file.modified.time_since_epoch().count();
    const std::int64_t modified = ns / 1'000'000'000;
    std::string etag =
        "\"" + std::to_string(file.inode) + "-" + std::to_string(ns) + "-" + std::to_string(file.size) + "\"";
    std::string last_modified = format_http_date(modified);
    std::string_view name = std::string_view(opened.path).substr(opened.path.rfind('/') + 1);
    std::string disposition = inline_disposition(name);
    std::string type = guess_content_type(name, opened.first_bytes);
    net::HeaderList headers;
    headers.push_back({"Vary", "Accept-Encoding"});
    headers.push_back({"Content-Disposition", disposition});
    if (file.size_known) {
        headers.push_back({"Last-Modified", last_modified});
        if (!compressed) headers.push_back({"Accept-Ranges", "bytes"});
        if (!compressed) headers.push_back({"ETag", etag});
        int status = check_conditions(request, etag, modified);
        if (status != 0) {
            co_await exchange.respond(status, "", std::string(), std::move(headers));
            co_return;
        }
    }
    if (compressed || !file.size_known) {
        std::unique_ptr<GzipEncoder> gzip;
        if (compressed) gzip = std::make_unique<GzipEncoder>();
        if (compressed) headers.push_back({"Content-Encoding", "gzip"});
        const bool begun = co_await exchange.begin(200, type, std::move(headers));
        if (!begun) co_return;
        if (request.method == net::Method::head) {
            co_await exchange.finish();
        } else {
            co_await stream_content(exchange, context, file, gzip.get());
        }
        co_return;
    }
    ByteRange range{0, file.size};
    std::string content_range;
    const std::string* wanted = request.header("range");
    if (wanted != nullptr && range_applies(request, etag, modified)) {
        auto [kind, part] = parse_range(*wanted, file.size);
        if (kind == RangeKind::unsatisfiable) {
            content_range = "bytes */" + std::to_string(file.size);
            headers.push_back({"Content-Range", content_range});
            co_await exchange.respond(416, "", std::string(), std::move(headers));
            co_return;
        }
        if (kind == RangeKind::satisfiable) {
            range = part;
            content_range = "bytes " + std::to_string(range.first) + "-" +
                            std::to_string(range.first + range.length - 1) + "/" + std::to_string(file.size);
            headers.push_back({"Content-Range", content_range});
        }
    }
    const int ok = content_range.empty() ? 200 : 206;
    const bool begun = co_await exchange.begin(ok, type, std::move(headers), range.length);
    if (!begun) co_return;
    if (request.method != net::Method::head && range.length > 0 &&
        !co_await exchange.write_file(context.file_pool, file.fd.get(), range.first, range.length))
        co_return;
    co_await exchange.finish();
}

}  // namespace

Task<> handle_download(net::Exchange& exchange, Context& context) {
    const net::Request& request = exchange.request();
    const std::string* accepted = request.header("accept-encoding");
    Coding coding = choose_coding(accepted);
    if (coding == Coding::none) {
        const RestError refusal{406, "no acceptable encoding: there are identity and gzip"};
        co_await respond_rest_error(exchange, refusal);
        co_return;
    }
    if (coding == Coding::gzip && wants_own_bytes(request) && accepts_encoding(accepted, "identity")) {
        coding = Coding::identity;
    }
    Caller caller = rest_caller(request, context.settings);
    std::string path = request.query("path").value_or("");
    auto job = [&] { return open_file(caller, path); };
    RestReply<Opened> opened = co_await context.file_pool.run_on(path, job);
    if (!opened) {
        co_await respond_rest_error(exchange, opened.error());
        co_return;
    }
    co_await send_file(exchange, context, *opened, coding == Coding::gzip);
}

Task<> handle_files(net::Exchange& exchange, Context& context) {
    if (exchange.request().method == net::Method::post) return handle_upload(exchange, context);
    return handle_download(exchange, context);
}

}  // namespace sandbox::e2b
