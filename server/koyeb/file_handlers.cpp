// Files and directories. As the SDKs expect it, an error of the file system is a 200 with "error" in it.

#include "base/json_writer.hpp"
#include "base/number.hpp"
#include "base/rfc3339.hpp"
#include "koyeb/file_request.hpp"
#include "koyeb/handlers.hpp"
#include "platform/spool_source.hpp"
#include "platform/users.hpp"
#include "services/filesystem.hpp"

namespace sandbox::koyeb {
namespace {

// Runs `work` on a file thread and answers {"success":true} or the error.
template <class Work>
Task<> answer_with(net::Exchange& exchange, Context& context, std::vector<std::string> paths, Work work) {
    auto done = co_await context.file_pool.run_on(std::move(paths), work);
    if (!done) {
        co_await respond_file_error(exchange, done.error().message);
    } else {
        co_await respond_success(exchange);
    }
}

// ---- writing

// "0644" and "644" are octal, as chmod(1) takes them; a number is the bits themselves.
Result<std::optional<mode_t>> parse_mode(const JsonFields& fields) {
    const JsonFields::Field* field = fields.find("mode");
    if (field == nullptr) return std::optional<mode_t>();
    const bool typed = field->kind == ValueKind::string || field->kind == ValueKind::number;
    const auto bits = parse_number<mode_t>(field->text, field->kind == ValueKind::string ? 8 : 10);
    if (!typed || !bits || *bits > 07777) {
        return Error{Errc::invalid_argument, "mode must be an octal string such as \"0644\"", 0};
    }
    return bits;
}

struct WriteRequest {
    files::WriteOptions options;
    bool base64 = false;
};

Result<WriteRequest> parse_write(const JsonFields& fields) {
    WriteRequest write;
    std::optional<Error> error;
    write.options.append = take(value_or(fields.boolean("append")), error);
    write.options.create_parents = take(value_or(fields.boolean("create_parents")), error);
    write.options.mode = take(parse_mode(fields), error);
    take(fields.string_or("content", ""), error);  // Text was diverted; nothing else will do.
    write.base64 = take(wants_base64(fields, "encoding"), error);
    if (error) return *error;
    return write;
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
    return body;
}

// ---- moving and copying

struct Transfer {
    std::string source;
    std::string destination;
    files::TransferOptions options;
    std::vector<std::string> paths() const { return {source, destination}; }
};

Task<std::unique_ptr<Transfer>> read_transfer(net::Exchange& exchange, Context& context) {
    std::unique_ptr<Body> body = co_await read_json(exchange, context);
    if (!body) co_return nullptr;
    const JsonFields& fields = body->fields;
    auto transfer = std::make_unique<Transfer>();
    std::optional<Error> error;
    transfer->options.create_parents = take(value_or(fields.boolean("create_parents")), error);
    transfer->options.replace = take(value_or(fields.boolean("overwrite"), true), error);
    transfer->destination = take(fields.string_or("destination", ""), error);
    transfer->source = take(fields.string_or("source", ""), error);
    if (error) {
        co_await respond_invalid(exchange, error->message);
        co_return nullptr;
    }
    if (transfer->source.empty() || transfer->destination.empty()) {
        co_await net::respond_error(exchange, 400, "source and destination are required");
        co_return nullptr;
    }
    co_return transfer;
}

}  // namespace

Task<> handle_write_file(net::Exchange& exchange, Context& context) {
    std::unique_ptr<PathRequest> request = co_await read_path(exchange, context, "content");
    if (!request) co_return;
    Result<WriteRequest> wanted = parse_write(request->body->fields);
    if (!wanted) {
        co_await respond_invalid(exchange, wanted.error().message);
        co_return;
    }
    auto content = co_await take_large(context, *request->body, "content", wanted->base64);
    if (!content) {
        co_await respond_body_error(exchange, content.error());
        co_return;
    }
    wanted->options.length = (*content)->size();
    SpoolSource source(**content);
    auto write = [&] { return files::write_file(request->path, wanted->options, source); };
    co_await answer_with(exchange, context, request->paths(), std::move(write));
}

Task<> handle_delete_file(net::Exchange& exchange, Context& context) {
    std::unique_ptr<PathRequest> request = co_await read_path(exchange, context);
    if (!request) co_return;
    auto remove = [&] { return files::delete_file(request->path); };
    co_await answer_with(exchange, context, request->paths(), std::move(remove));
}

Task<> handle_make_dir(net::Exchange& exchange, Context& context) {
    std::unique_ptr<PathRequest> request = co_await read_path(exchange, context);
    if (!request) co_return;
    auto make = [&] { return files::make_dir(request->path); };
    co_await answer_with(exchange, context, request->paths(), std::move(make));
}

Task<> handle_delete_dir(net::Exchange& exchange, Context& context) {
    std::unique_ptr<PathRequest> request = co_await read_path(exchange, context);
    if (!request) co_return;
    if (request->path.empty()) {
        co_await net::respond_error(exchange, 400, "Path is required");
        co_return;
    }
    auto remove = [&] { return files::delete_dir(request->path); };
    co_await answer_with(exchange, context, request->paths(), std::move(remove));
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
        return body;
    };
    Result<std::string> body = co_await context.file_pool.run_on(request->path, list);
    if (!body) {
        co_await net::respond_error(exchange, 200, body.error().message);
        co_return;
    }
    co_await respond_json(exchange, 200, std::move(*body));
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
    Result<std::string> body = co_await context.file_pool.run_on(request->path, look);
    if (!body) {
        co_await respond_file_error(exchange, body.error().message);
        co_return;
    }
    co_await respond_json(exchange, 200, std::move(*body));
}

Task<> handle_move(net::Exchange& exchange, Context& context) {
    std::unique_ptr<Transfer> transfer = co_await read_transfer(exchange, context);
    if (!transfer) co_return;
    auto move = [&] { return files::move(transfer->source, transfer->destination, transfer->options); };
    co_await answer_with(exchange, context, transfer->paths(), std::move(move));
}

Task<> handle_copy(net::Exchange& exchange, Context& context) {
    std::unique_ptr<Transfer> transfer = co_await read_transfer(exchange, context);
    if (!transfer) co_return;
    auto copy = [&] { return files::copy(transfer->source, transfer->destination, transfer->options); };
    co_await answer_with(exchange, context, transfer->paths(), std::move(copy));
}

}  // namespace sandbox::koyeb
