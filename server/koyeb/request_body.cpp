#include "koyeb/request_body.hpp"

#include "base/base64.hpp"

namespace sandbox::koyeb {
namespace {

constexpr std::size_t kLargeMemory = 256 * 1024;

Task<Result<std::unique_ptr<Spool>>> decode_base64(Context& context, std::string_view member,
                                                   std::unique_ptr<Spool> text) {
    auto failed = [prefix = std::string(member) + ": "](const Error& error) {
        return Error{error.code, prefix + error.message, error.sys_errno};
    };
    auto bytes = std::make_unique<Spool>(context.file_pool, context.spill_dir, kLargeMemory);
    Base64Decoder decoder;
    std::string chunk(192 * 1024, '\0');
    std::string decoded;
    for (std::uint64_t offset = 0;;) {
        Result<std::size_t> count = co_await text->read(offset, chunk);
        if (!count) co_return failed(count.error());
        decoded.clear();
        bool good = *count > 0 ? decoder.append(decoded, std::string_view(chunk).substr(0, *count))
                               : decoder.finish(decoded);
        if (!good) co_return failed(Error{Errc::invalid_argument, "malformed base64", 0});
        if (!decoded.empty()) {
            Result<> stored = co_await bytes->append(decoded);
            if (!stored) co_return failed(stored.error());
        }
        if (*count == 0) break;
        offset += *count;
    }
    co_return bytes;
}

}  // namespace

Task<std::unique_ptr<Body>> read_json(net::Exchange& exchange, Context& context, std::string_view large_key,
                                      EmptyBody empty) {
    auto body = std::make_unique<Body>();
    std::string diverted;
    // Anew for a second member of that name: the last one counts.
    auto begin_large = [&diverted, &context, large = &body->large] {
        diverted.clear();
        *large = std::make_unique<Spool>(context.file_pool, context.spill_dir, kLargeMemory);
    };
    if (!large_key.empty()) {
        begin_large();
        auto sink = [&diverted](std::string_view part) { diverted += part; };
        body->fields.divert(std::string(large_key), std::move(sink), begin_large);
    }
    JsonObjectScanner scanner(body->fields);
    std::optional<Error> failure;
    bool empty_will_do = empty == EmptyBody::no_members;
    for (;;) {
        Result<std::string_view> piece = co_await exchange.read_body();
        if (!piece) {
            failure = piece.error();
            break;
        }
        if (piece->empty()) break;
        empty_will_do = false;
        if (!scanner.feed(*piece)) {
            failure = Error{Errc::invalid_argument, scanner.error(), 0};
            break;
        }
        if ((failure = body->fields.failure())) break;
        if (!diverted.empty()) {
            Result<> stored = co_await body->large->append(diverted);
            diverted.clear();
            if (!stored) {
                failure = stored.error();
                break;
            }
        }
    }
    if (!failure && !empty_will_do && !scanner.finish())
        failure = Error{Errc::invalid_argument, scanner.error(), 0};
    if (failure) {
        if (failure->code != Errc::cancelled) co_await respond_body_error(exchange, *failure);
        co_return nullptr;
    }
    const JsonFields::Field* large = large_key.empty() ? nullptr : body->fields.find(large_key);
    body->has_large = large != nullptr && large->diverted;
    co_return body;
}

Result<std::string> text_or_number(const JsonFields& fields, std::string_view key) {
    const JsonFields::Field* field = fields.find(key);
    if (field != nullptr && field->kind == ValueKind::number) return field->text;
    Result<std::string> text = fields.string_or(key, "");
    if (!text) return Error{Errc::invalid_argument, std::string(key) + " must be a string or a number", 0};
    return text;
}

Result<bool> wants_base64(const JsonFields& fields, std::string_view key) {
    Result<std::string> encoding = fields.string_or(key, "");
    if (!encoding) return encoding.error();
    if (*encoding == "base64") return true;
    if (encoding->empty() || *encoding == "utf-8" || *encoding == "utf8") return false;
    return Error{Errc::invalid_argument, std::string(key) + " must be \"utf-8\" or \"base64\"", 0};
}

Task<Result<std::unique_ptr<Spool>>> take_large(Context& context, Body& body, std::string_view member,
                                                bool base64) {
    if (!base64) co_return std::move(body.large);
    co_return co_await decode_base64(context, member, std::move(body.large));
}

}  // namespace sandbox::koyeb
