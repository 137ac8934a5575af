#include "e2b/rest.hpp"

#include <algorithm>
#include <cerrno>

#include "base/json_writer.hpp"

namespace sandbox::e2b {
namespace {

constexpr std::string_view kMetadataHeader = "x-metadata-";
constexpr std::size_t kMaxKey = 246;        // a name of an attribute has 255 bytes (xattr(7))
constexpr std::size_t kMaxMetadata = 4096;  // all of it, in one block of an ext4

bool is_printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7E; });
}

RestError bad_metadata(std::string why) { return {400, "invalid metadata: " + std::move(why)}; }

}  // namespace

void throw_exception_from_error(const RestError& error, const boost::source_location& where) {
    Error plain{Errc::internal, error.message, 0};
    throw_exception_from_error(plain, where);
}

Task<bool> respond_rest_error(net::Exchange& exchange, const RestError& error) {
    net::HeaderList headers(1, net::Header{"Cache-Control", "no-store"});
    return exchange.respond(error.status, "application/json; charset=utf-8",
                            rest_error_json(error.status, error.message), std::move(headers));
}

Task<bool> respond_json(net::Exchange& exchange, std::string body) {
    net::HeaderList headers(1, net::Header{"Cache-Control", "no-store"});
    return exchange.respond(200, "application/json", std::move(body), std::move(headers));
}

RestReply<User> rest_account(const Caller& caller) {
    std::optional<User> user = find_account(caller);
    if (user) return std::move(*user);
    std::string name = caller.name.value_or(caller.default_user);
    return RestError{401, "error looking up user '" + name + "': user: unknown user " + name};
}

RestReply<std::string> rest_path(const std::string& path, const User& user, const Caller& caller) {
    Result<std::string> resolved = resolve_path(path, user, caller);
    if (!resolved) return RestError{400, resolved.error().message};
    return std::move(*resolved);
}

RestReply<files::Metadata> request_metadata(const net::Request& request) {
    files::Metadata metadata;
    std::size_t total = 0;
    for (const auto& [name, value] : request.headers) {
        if (!name.starts_with(kMetadataHeader)) continue;
        std::string key = name.substr(kMetadataHeader.size());
        if (key.empty()) return bad_metadata("empty key");
        if (key.size() > kMaxKey) return bad_metadata("key \"" + key + "\" is longer than 246 bytes");
        if (!is_printable(key) || !is_printable(value))
            return bad_metadata("key and value must be printable ASCII");
        if (metadata.emplace(key, value).second)
            total += files::kMetadataPrefix.size() + key.size() + value.size();
    }
    if (total > kMaxMetadata) return bad_metadata("more than 4096 bytes in total");
    return metadata;
}

std::string uploaded_json(const std::string& path, bool with_metadata) {
    std::string body;
    JsonWriter writer(body);
    writer.begin_object().member("name", path.substr(path.rfind('/') + 1)).member("path", path);
    writer.member("type", "file");
    files::StatOptions options;
    options.follow = true;
    options.metadata = true;
    Result<files::Entry> entry = Error{};
    if (with_metadata) entry = files::stat(path, options);
    if (entry && !entry->metadata.empty()) {
        writer.key("metadata").begin_object();
        for (const auto& [key, value] : entry->metadata) writer.member(key, value);
        writer.end_object();
    }
    writer.end_object();
    return body;
}

RestError write_error(const Error& error, const std::string& path) {
    switch (error.sys_errno) {
        case EISDIR:
            return {400, "path is a directory: " + path};
        case ENOSPC:
        case EDQUOT:
            return {507, "not enough disk space available"};
        case ENOTDIR:
            return {500, "path is a file: " + error.message};
        default:
            return {error.code == Errc::resource_exhausted ? 507 : 500, error.message};
    }
}

}  // namespace sandbox::e2b
