// Files and directories. As the SDKs expect it, an error of the file system is a 200 with "error" in it.

#include <boost/asio/post.hpp>
#include <charconv>

#include "base/base64.hpp"
#include "base/json_escape.hpp"
#include "base/json_writer.hpp"
#include "base/rfc3339.hpp"
#include "koyeb/handlers.hpp"
#include "koyeb/request_body.hpp"
#include "platform/spool_source.hpp"
#include "platform/users.hpp"
#include "services/filesystem.hpp"

namespace sandbox::koyeb {
namespace {

constexpr std::size_t kReadPiece = 192 * 1024;  // a multiple of 3 for base64

Task<bool> respond_failed(net::Exchange& exchange, std::string message, bool with_success = true) {
    std::string body;
    JsonWriter writer(body);
    writer.begin_object().member("error", message);
    if (with_success) writer.member("success", false);
    writer.end_object();
    body += '\n';
    return exchange.respond(200, "application/json", std::move(body));
}

Task<bool> respond_done(net::Exchange& exchange) {
    return exchange.respond(200, "application/json", "{\"success\":true}\n");
}

// A body in which `path` (or another member) is text; null when an error has been answered.
struct PathRequest {
    std::unique_ptr<Body> body;
    std::string path;
};

Task<std::unique_ptr<PathRequest>> read_path(net::Exchange& exchange, Context& context,
                                             std::string_view large_key = {}) {
    auto request = std::make_unique<PathRequest>();
    request->body = co_await read_json(exchange, context, large_key);
    if (!request->body) co_return nullptr;
    Result<std::string> path = request->body->fields.string_or("path", "");
    if (!path) {
        co_await respond_invalid(exchange, path.error().message);
        co_return nullptr;
    }
    request->path = std::move(*path);
    co_return request;
}

// Runs `work` on a file thread and answers {"success":true} or the error.
template <class Work>
Task<> answer_with(net::Exchange& exchange, Context& context, Work work) {
    auto done = co_await context.file_pool.run(work);
    if (!done) {
        co_await respond_failed(exchange, done.error().message);
    } else {
        co_await respond_done(exchange);
    }
}

// ---- reading

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
    Result<bool> base64 = wants_base64(fields, "encoding");
    if (!base64) return base64.error();
    read.base64 = *base64;
    auto offset = fields.integer("offset");
    if (!offset) return offset.error();
    auto length = fields.integer("length");
    if (!length) return length.error();
    if ((*offset && **offset < 0) || (*length && **length < 0)) {
        return Error{Errc::invalid_argument, "offset and length must be 0 or more", 0};
    }
    if (*offset) read.offset = static_cast<std::uint64_t>(**offset);
    if (*length) read.length = static_cast<std::uint64_t>(**length);
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

struct FirstPiece {
    files::OpenedFile file;
    std::string bytes;
};

// Opening and the first piece cost one trip to the pool; most files are no larger.
Result<FirstPiece> open_and_read(const ReadRequest& request, std::size_t wanted) {
    files::ReadOptions options;
    options.bounded = request.length.has_value();
    Result<files::OpenedFile> file = files::open_for_read(request.path, options);
    if (!file) return file.error();
    FirstPiece first;
    first.file = std::move(*file);
    if (first.file.size_known && first.file.kind == files::Kind::file) {
        std::uint64_t left = first.file.size > request.offset ? first.file.size - request.offset : 0;
        wanted = static_cast<std::size_t>(std::min<std::uint64_t>(wanted, left + 1));
    }
    first.bytes.resize(wanted);
    Result<std::size_t> count = read_full(first.file, request.offset, first.bytes);
    if (!count) return count.error();
    first.bytes.resize(*count);
    return first;
}

class ContentText {
  public:
    explicit ContentText(bool base64) : base64_(base64) {}
    void append(std::string& out, std::string_view bytes) {
        if (base64_) {
            encoder_.append(out, bytes);
        } else {
            escaper_.append(out, bytes);
        }
    }
    void finish(std::string& out) {
        if (base64_) {
            encoder_.finish(out);
        } else {
            escaper_.finish(out);
        }
        out += base64_ ? "\",\"encoding\":\"base64\"}\n" : "\",\"encoding\":\"utf-8\"}\n";
    }

  private:
    bool base64_;
    Base64Encoder encoder_;
    JsonEscaper escaper_{JsonCharset::utf8};
};

std::size_t piece_size(const ReadRequest& request, std::uint64_t done) {
    if (!request.length) return kReadPiece;
    return static_cast<std::size_t>(std::min<std::uint64_t>(*request.length - done, kReadPiece));
}

Task<> stream_rest(net::Exchange& exchange, Context& context, const ReadRequest& request, FirstPiece first) {
    ContentText text(request.base64);
    std::string out = "{\"content\":\"";
    std::string piece = std::move(first.bytes);
    std::uint64_t done = 0;
    if (!co_await exchange.begin(200, "application/json")) co_return;
    while (!piece.empty()) {
        text.append(out, piece);
        done += piece.size();
        if (!co_await exchange.write(out)) co_return;
        out.clear();
        piece.resize(piece_size(request, done));
        auto job = [&] { return read_full(first.file, request.offset + done, piece); };
        Result<std::size_t> count = co_await context.file_pool.run(job);
        if (!count) {
            exchange.abort();  // The head is out: the reader must see that the answer is cut.
            co_return;
        }
        piece.resize(*count);
    }
    text.finish(out);
    if (co_await exchange.write(out)) co_await exchange.finish();
}

// ---- writing

// "0644" and "644" are octal, as chmod(1) takes them; a number is the bits themselves.
Result<std::optional<mode_t>> parse_mode(const JsonFields& fields) {
    const JsonFields::Field* field = fields.find("mode");
    if (field == nullptr) return std::optional<mode_t>();
    int base = field->kind == ValueKind::string ? 8 : 10;
    unsigned bits = 0;
    const char* end = field->text.data() + field->text.size();
    auto [at, ec] = std::from_chars(field->text.data(), end, bits, base);
    bool typed = field->kind == ValueKind::string || field->kind == ValueKind::number;
    if (!typed || ec != std::errc() || at != end || bits > 07777) {
        return Error{Errc::invalid_argument, "mode must be an octal string such as \"0644\"", 0};
    }
    return std::optional<mode_t>(bits);
}

Result<files::WriteOptions> parse_write(const JsonFields& fields) {
    files::WriteOptions options;
    auto append = value_or(fields.boolean("append"));
    if (!append) return append.error();
    auto parents = value_or(fields.boolean("create_parents"));
    if (!parents) return parents.error();
    auto mode = parse_mode(fields);
    if (!mode) return mode.error();
    auto content_type = fields.string_or("content", "");
    if (!content_type) return content_type.error();
    options.append = *append;
    options.create_parents = *parents;
    options.mode = *mode;
    return options;
}

// ---- looking

std::string octal(mode_t mode) {
    char text[8];
    char* end = std::to_chars(text, text + sizeof text, static_cast<unsigned>(mode), 8).ptr;
    std::string digits(text, end);
    return digits.size() < 4 ? std::string(4 - digits.size(), '0') + digits : digits;
}

std::string describe(const files::Entry& entry, const Accounts& accounts) {
    std::string body;
    JsonWriter writer(body);
    writer.begin_object().member("success", true);
    writer.member("path", entry.path).member("name", entry.name).member("type", files::kind_name(entry.kind));
    writer.member("size", entry.size).member("mode", octal(entry.mode));
    writer.member("uid", entry.uid).member("gid", entry.gid);
    writer.member("user", accounts.user_name(entry.uid)).member("group", accounts.group_name(entry.gid));
    writer.member("modified_at", format_rfc3339(entry.modified.time_since_epoch().count()));
    if (entry.kind == files::Kind::symlink) {
        writer.member("target", entry.link_text);
        if (entry.target_kind) writer.member("target_type", files::kind_name(*entry.target_kind));
    }
    writer.end_object();
    body += '\n';
    return body;
}

// ---- moving and copying

struct Transfer {
    std::string source;
    std::string destination;
    files::TransferOptions options;
};

Task<std::unique_ptr<Transfer>> read_transfer(net::Exchange& exchange, Context& context) {
    std::unique_ptr<Body> body = co_await read_json(exchange, context);
    if (!body) co_return nullptr;
    auto source = body->fields.string_or("source", "");
    auto destination = body->fields.string_or("destination", "");
    auto overwrite = value_or(body->fields.boolean("overwrite"), true);
    auto parents = value_or(body->fields.boolean("create_parents"));
    std::string wrong;
    if (!source) wrong = source.error().message;
    if (!destination) wrong = destination.error().message;
    if (!overwrite) wrong = overwrite.error().message;
    if (!parents) wrong = parents.error().message;
    if (!wrong.empty()) {
        co_await respond_invalid(exchange, wrong);
        co_return nullptr;
    }
    if (source->empty() || destination->empty()) {
        co_await net::respond_error(exchange, 400, "source and destination are required");
        co_return nullptr;
    }
    auto transfer = std::make_unique<Transfer>();
    transfer->source = std::move(*source);
    transfer->destination = std::move(*destination);
    transfer->options.replace = *overwrite;
    transfer->options.create_parents = *parents;
    co_return transfer;
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
    Result<FirstPiece> first = co_await context.file_pool.run(job);
    if (!first) {
        co_await respond_failed(exchange, first.error().message, false);
        co_return;
    }
    if (first->bytes.size() == kReadPiece) {
        FirstPiece begun = std::move(*first);
        co_await stream_rest(exchange, context, *read, std::move(begun));
        co_return;
    }
    ContentText text(read->base64);
    std::string body = "{\"content\":\"";
    text.append(body, first->bytes);
    text.finish(body);
    co_await exchange.respond(200, "application/json", std::move(body));
}

Task<> handle_write_file(net::Exchange& exchange, Context& context) {
    std::unique_ptr<PathRequest> request = co_await read_path(exchange, context, "content");
    if (!request) co_return;
    Result<files::WriteOptions> options = parse_write(request->body->fields);
    Result<bool> base64 = wants_base64(request->body->fields, "encoding");
    if (!options || !base64) {
        const Error& wrong = !options ? options.error() : base64.error();
        co_await respond_invalid(exchange, wrong.message);
        co_return;
    }
    std::unique_ptr<Spool> content = std::move(request->body->large);
    if (*base64) {
        auto decoded = co_await decode_base64(context, std::move(content));
        if (!decoded) {
            co_await respond_invalid(exchange, "content: " + decoded.error().message);
            co_return;
        }
        content = std::move(*decoded);
    }
    SpoolSource source(*content);
    auto write = [&] { return files::write_file(request->path, *options, source); };
    co_await answer_with(exchange, context, std::move(write));
}

Task<> handle_delete_file(net::Exchange& exchange, Context& context) {
    std::unique_ptr<PathRequest> request = co_await read_path(exchange, context);
    if (!request) co_return;
    auto remove = [&] { return files::delete_file(request->path); };
    co_await answer_with(exchange, context, std::move(remove));
}

Task<> handle_make_dir(net::Exchange& exchange, Context& context) {
    std::unique_ptr<PathRequest> request = co_await read_path(exchange, context);
    if (!request) co_return;
    auto make = [&] { return files::make_dir(request->path); };
    co_await answer_with(exchange, context, std::move(make));
}

Task<> handle_delete_dir(net::Exchange& exchange, Context& context) {
    std::unique_ptr<PathRequest> request = co_await read_path(exchange, context);
    if (!request) co_return;
    if (request->path.empty()) {
        co_await net::respond_error(exchange, 400, "Path is required");
        co_return;
    }
    auto remove = [&] { return files::delete_dir(request->path); };
    co_await answer_with(exchange, context, std::move(remove));
}

Task<> handle_list_dir(net::Exchange& exchange, Context& context) {
    std::unique_ptr<PathRequest> request = co_await read_path(exchange, context);
    if (!request) co_return;
    // Written on the pool thread too: a directory can have a million names.
    auto list = [&]() -> Result<std::string> {
        Result<std::vector<std::string>> names = files::list_dir(request->path);
        if (!names) return names.error();
        std::string body;
        JsonWriter writer(body);
        writer.begin_object().key("entries").begin_array();
        for (const std::string& name : *names) writer.value(name);
        writer.end_array().end_object();
        body += '\n';
        return body;
    };
    Result<std::string> body = co_await context.file_pool.run(list);
    if (!body) {
        co_await respond_failed(exchange, body.error().message, false);
        co_return;
    }
    co_await exchange.respond(200, "application/json", std::move(*body));
}

Task<> handle_stat(net::Exchange& exchange, Context& context) {
    std::unique_ptr<PathRequest> request = co_await read_path(exchange, context);
    if (!request) co_return;
    Result<bool> follow = value_or(request->body->fields.boolean("follow"));
    if (!follow) {
        co_await respond_invalid(exchange, follow.error().message);
        co_return;
    }
    auto look = [&]() -> Result<std::string> {
        files::StatOptions options;
        options.follow = *follow;
        Result<files::Entry> entry = files::stat(request->path, options);
        if (!entry) return entry.error();
        return describe(*entry, Accounts::load());
    };
    Result<std::string> body = co_await context.file_pool.run(look);
    if (!body) {
        co_await respond_failed(exchange, body.error().message);
        co_return;
    }
    co_await exchange.respond(200, "application/json", std::move(*body));
}

Task<> handle_move(net::Exchange& exchange, Context& context) {
    std::unique_ptr<Transfer> transfer = co_await read_transfer(exchange, context);
    if (!transfer) co_return;
    auto move = [&] { return files::move(transfer->source, transfer->destination, transfer->options); };
    co_await answer_with(exchange, context, std::move(move));
}

Task<> handle_copy(net::Exchange& exchange, Context& context) {
    std::unique_ptr<Transfer> transfer = co_await read_transfer(exchange, context);
    if (!transfer) co_return;
    auto copy = [&] { return files::copy(transfer->source, transfer->destination, transfer->options); };
    co_await answer_with(exchange, context, std::move(copy));
}

}  // namespace sandbox::koyeb
