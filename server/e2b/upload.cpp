// POST /files and /files/compose.

#include <sys/stat.h>
#include <unistd.h>

#include "base/json_writer.hpp"
#include "e2b/handlers.hpp"
#include "e2b/http_values.hpp"
#include "e2b/inflate.hpp"
#include "e2b/multipart.hpp"
#include "e2b/rest.hpp"
#include "platform/spool_source.hpp"

namespace sandbox::e2b {
namespace {

constexpr std::size_t kMemory = 256 * 1024;
constexpr mode_t kNewFileMode = 0644;

// The request's body without its Content-Encoding.
class DecodedBody {
  public:
    DecodedBody(net::Exchange& exchange, bool gzip) : exchange_(exchange) {
        if (gzip) gzip_ = std::make_unique<GzipDecoder>();
    }

    // As Exchange::read_body_into().
    Task<Result<std::string_view>> next(std::span<char> room) {
        if (!gzip_) co_return co_await exchange_.read_body_into(room);
        for (;;) {
            Result<> decoded = gzip_->next(piece_);
            if (!decoded) co_return decoded.error();
            if (!piece_.empty()) co_return std::string_view(piece_);
            Result<std::string_view> encoded = co_await exchange_.read_body();
            if (!encoded) co_return encoded.error();
            if (encoded->empty()) break;
            gzip_->feed(*encoded);
        }
        if (!gzip_->complete()) co_return Error{Errc::invalid_argument, "gzip: unexpected end", 0};
        co_return std::string_view();
    }

  private:
    net::Exchange& exchange_;
    std::unique_ptr<GzipDecoder> gzip_;
    std::string piece_;
};

struct Upload {
    Context& context;
    Caller caller;
    User user;
    files::Metadata metadata;
    std::optional<std::string> path;  // of the query
    std::vector<std::string> written;
    std::string answer = "[";
};

RestError body_error(const Error& error) {
    switch (error.code) {
        case Errc::resource_exhausted:
            return {507, "not enough disk space available"};
        case Errc::too_large:
            return {413, error.message};
        default:
            return {400, error.message};
    }
}

files::WriteOptions write_options(const Caller& caller, const User& user, const files::Metadata& metadata) {
    files::WriteOptions options;
    options.mode_if_new = kNewFileMode;
    options.create_parents = true;
    // A daemon that is not root can give files to nobody; it fails over that only when somebody was named.
    if (caller.name || ::geteuid() == 0) options.owner = owner_of(user);
    options.metadata = metadata;
    options.by_rename = true;
    return options;
}

// Puts one file's content in its place.
Task<RestReply<>> store(Upload& upload, std::string path, Spool& content) {
    RestReply<std::string> resolved = rest_path(path, upload.user, upload.caller);
    if (!resolved) co_return resolved.error();
    for (const std::string& earlier : upload.written) {
        if (earlier == *resolved) {
            co_return RestError{400, "you cannot upload multiple files to the same path '" + earlier +
                                         "' in one upload request"};
        }
    }
    upload.written.push_back(*resolved);
    if (Result<> complete = co_await content.complete_file(); !complete)
        co_return body_error(complete.error());
    auto job = [&]() -> RestReply<std::string> {
        SpoolSource source(content);
        files::WriteOptions options = write_options(upload.caller, upload.user, upload.metadata);
        Result<files::WriteOutcome> outcome = files::write_file(*resolved, options, source);
        if (!outcome) return write_error(outcome.error(), *resolved);
        return uploaded_json(*resolved, !upload.metadata.empty());
    };
    RestReply<std::string> json = co_await upload.context.file_pool.run_on(*resolved, job);
    if (!json) co_return json.error();
    if (upload.answer.size() > 1) upload.answer += ',';
    upload.answer += *json;
    co_return RestReply<>();
}

std::unique_ptr<Spool> make_spool(Context& context) {
    return std::make_unique<Spool>(context.file_pool, context.spill_dir, kMemory);
}

Task<RestReply<>> receive_raw(Upload& upload, DecodedBody& body) {
    std::unique_ptr<Spool> content = make_spool(upload.context);
    for (;;) {
        std::span<char> room = co_await content->room();
        Result<std::string_view> piece = co_await body.next(room);
        if (!piece) co_return body_error(piece.error());
        if (piece->empty()) break;
        Result<> kept = co_await content->append(*piece);
        if (!kept) co_return body_error(kept.error());
    }
    co_return co_await store(upload, *upload.path, *content);
}

// A file takes its place when its part ends, so that one part is held at a time, however many there are. The
// paths of later parts are not known by then: an error, a path that comes twice too, leaves what came before.
Task<RestReply<>> receive_parts(Upload& upload, DecodedBody& body, std::string boundary) {
    using Event = MultipartReader::Event;
    MultipartReader reader(boundary);
    std::unique_ptr<Spool> content;  // of the present part; null for one that does not count
    std::string path;
    for (bool done = false;;) {
        Result<std::string_view> piece = co_await body.next(std::span<char>());
        if (!piece) co_return body_error(piece.error());
        if (piece->empty()) {
            if (!done) co_return RestError{400, "multipart: unexpected end of the body"};
            co_return RestReply<>();
        }
        reader.feed(*piece);
        while (!done) {
            Result<Event> event = reader.next();
            if (!event) co_return body_error(event.error());
            if (*event == Event::need_more) break;
            if (*event == Event::end) done = true;
            if (*event == Event::part && reader.head().name == "file") {
                content = make_spool(upload.context);
                path = upload.path ? *upload.path : reader.head().filename.value_or("");
                if (path.empty()) co_return RestError{400, "a file has neither a path nor a filename"};
            }
            if (*event == Event::data && content) {
                Result<> kept = co_await content->append(reader.data());
                if (!kept) co_return body_error(kept.error());
            }
            if (*event == Event::part_end && content) {
                RestReply<> stored = co_await store(upload, path, *content);
                if (!stored) co_return stored.error();
                content.reset();
            }
        }
    }
}

Task<RestReply<std::string>> receive(net::Exchange& exchange, Context& context) {
    const net::Request& request = exchange.request();
    exchange.limit_body(0);
    RestReply<files::Metadata> metadata = request_metadata(request);
    if (!metadata) co_return metadata.error();
    const std::string* encoding = request.header("content-encoding");
    bool gzip = encoding != nullptr && equal_ignoring_case(*encoding, "gzip");
    bool plain = encoding == nullptr || encoding->empty() || equal_ignoring_case(*encoding, "identity");
    if (!gzip && !plain) co_return RestError{400, "unsupported Content-Encoding: " + *encoding};
    const std::string* type_header = request.header("content-type");
    HeaderValue type = parse_header_value(type_header == nullptr ? "" : *type_header);
    const std::string* boundary = type.parameter("boundary");
    bool multipart = type.value == "multipart/form-data";
    if (!multipart && type.value != "application/octet-stream") {
        co_return RestError{400, "unsupported content type: " + type.value +
                                     ", expected multipart/form-data or application/octet-stream"};
    }
    if (multipart && (boundary == nullptr || boundary->empty() || boundary->size() > 70)) {
        co_return RestError{400, "no multipart boundary param in Content-Type"};
    }
    Caller caller = rest_caller(request, context.settings);
    auto job = [&caller] { return rest_account(caller); };
    RestReply<User> user = co_await context.file_pool.run(job);
    if (!user) co_return user.error();
    Upload upload{context, std::move(caller), std::move(*user), std::move(*metadata), request.query("path"),
                  {}};
    if (upload.path && upload.path->empty()) upload.path.reset();
    if (!multipart && !upload.path) co_return RestError{400, "path is required"};
    DecodedBody body(exchange, gzip);
    RestReply<> received;
    if (multipart) {
        received = co_await receive_parts(upload, body, *boundary);
    } else {
        received = co_await receive_raw(upload, body);
    }
    if (!received) co_return received.error();
    upload.answer += ']';
    co_return std::move(upload.answer);
}

// The contents of several files, one behind the other.
class ComposedSource final : public ByteSource {
  public:
    explicit ComposedSource(std::vector<files::OpenedFile> parts) : parts_(std::move(parts)) {}

    Result<std::size_t> read(std::uint64_t offset, std::span<char> out) override {
        for (const files::OpenedFile& part : parts_) {
            if (offset < part.size) {
                auto most = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), part.size - offset));
                return files::read_at(part, offset, out.first(most));
            }
            offset -= part.size;
        }
        return std::size_t{0};
    }
    std::optional<FileExtent> file_extent(std::uint64_t offset) const override {
        for (const files::OpenedFile& part : parts_) {
            if (offset < part.size) return FileExtent{part.fd.get(), offset, part.size - offset};
            offset -= part.size;
        }
        return std::nullopt;
    }

  private:
    std::vector<files::OpenedFile> parts_;
};

struct ComposeCall {
    std::vector<std::string> sources;
    std::string destination;
    std::string user;  // empty: that of the query
};

Reply<ComposeCall> parse_compose(const Message& body) {
    Reply<std::vector<std::string>> sources = body.texts("sourcePaths");
    Reply<std::string> destination = body.text("destination");
    Reply<std::string> user = body.text("username");
    if (auto error = first_error(sources, destination, user)) return *error;
    if (sources->empty()) return ConnectError{Code::invalid_argument, "source_paths must not be empty"};
    if (destination->empty()) return ConnectError{Code::invalid_argument, "destination is required"};
    return ComposeCall{std::move(*sources), std::move(*destination), std::move(*user)};
}

// Blocking.
RestReply<std::string> compose(const Caller& caller, const ComposeCall& call,
                               const files::Metadata& metadata) {
    RestReply<User> user = rest_account(caller);
    if (!user) return user.error();
    RestReply<std::string> target = rest_path(call.destination, *user, caller);
    if (!target) return target.error();
    std::vector<std::string> paths;
    std::vector<files::OpenedFile> parts;
    for (const std::string& source : call.sources) {
        RestReply<std::string> path = rest_path(source, *user, caller);
        if (!path) return path.error();
        Result<files::OpenedFile> part = files::open_for_read(*path);
        if (!part && part.error().code == Errc::not_found)
            return RestError{404, "source file not found: " + *path};
        if (!part) return RestError{400, part.error().message};
        paths.push_back(std::move(*path));
        parts.push_back(std::move(*part));
    }
    ComposedSource content(std::move(parts));
    files::WriteOptions options = write_options(caller, *user, metadata);
    Result<files::WriteOutcome> written = files::write_file(*target, options, content);
    if (!written) return write_error(written.error(), *target);
    // A source may be the destination by another name: through a link, or with a "." in it.
    struct stat name {};
    struct stat file {};  // Another one where the destination is a link.
    const bool there = ::lstat(target->c_str(), &name) == 0 && ::stat(target->c_str(), &file) == 0;
    auto same = [](const struct stat& a, const struct stat& b) {
        return a.st_ino == b.st_ino && a.st_dev == b.st_dev;
    };
    for (const std::string& path : paths) {
        struct stat source {};
        if (there && ::lstat(path.c_str(), &source) == 0 && (same(source, name) || same(source, file)))
            continue;
        Result<> removed = files::delete_file(path);
        if (!removed && removed.error().code != Errc::not_found)
            return RestError{500, removed.error().message};
    }
    return uploaded_json(*target, !metadata.empty());
}

Task<RestReply<std::string>> receive_compose(net::Exchange& exchange, Context& context) {
    Reply<std::unique_ptr<Message>> body = co_await read_message(exchange);
    if (!body) co_return RestError{400, body.error().message};
    Reply<ComposeCall> call = parse_compose(**body);
    if (!call) co_return RestError{400, call.error().message};
    RestReply<files::Metadata> metadata = request_metadata(exchange.request());
    if (!metadata) co_return metadata.error();
    Caller caller = rest_caller(exchange.request(), context.settings);
    if (!call->user.empty()) caller.name = call->user;
    auto job = [&] { return compose(caller, *call, *metadata); };
    std::vector<std::string> paths = call->sources;
    paths.push_back(call->destination);
    co_return co_await context.file_pool.run_on(std::move(paths), job);
}

}  // namespace

Task<> handle_upload(net::Exchange& exchange, Context& context) {
    RestReply<std::string> answer = co_await receive(exchange, context);
    if (answer) {
        co_await exchange.respond(200, "application/json", std::move(*answer));
    } else {
        co_await respond_rest_error(exchange, answer.error());
    }
}

Task<> handle_compose(net::Exchange& exchange, Context& context) {
    RestReply<std::string> answer = co_await receive_compose(exchange, context);
    if (answer) {
        co_await respond_json(exchange, std::move(*answer));
    } else {
        co_await respond_rest_error(exchange, answer.error());
    }
}

}  // namespace sandbox::e2b
