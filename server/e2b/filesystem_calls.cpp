// filesystem.Filesystem: Stat, MakeDir, Move, ListDir, Remove.

#include <cerrno>

#include "base/url.hpp"
#include "e2b/entry_json.hpp"
#include "e2b/handlers.hpp"
#include "e2b/user_paths.hpp"

namespace sandbox::e2b {
namespace {

using files::Kind;

ConnectError internal(std::string message) { return {Code::internal, std::move(message)}; }

EntryForm form_for(const Caller& caller) { return caller.legacy ? EntryForm::brief : EntryForm::full; }

Reply<std::string> entry_answer(const std::string& path, const Caller& caller) {
    files::StatOptions options;
    options.metadata = true;
    Result<files::Entry> entry = files::stat(path, options);
    if (!entry) {
        const Error& error = entry.error();
        if (error.code == Errc::not_found)
            return ConnectError{Code::not_found, "file not found: " + error.message};
        return internal(error.message);
    }
    std::string body;
    JsonWriter writer(body);
    writer.begin_object().key("entry");
    write_entry(writer, *entry, Accounts::load(), form_for(caller));
    writer.end_object();
    return body;
}

Reply<std::string> make_directory(const std::string& path, const User& user, const Caller& caller) {
    files::StatOptions follow;
    follow.follow = true;
    if (Result<files::Entry> there = files::stat(path, follow)) {
        if (there->kind == Kind::directory)
            return ConnectError{Code::already_exists, "directory already exists: " + path};
        return ConnectError{Code::invalid_argument, "path already exists but it is not a directory: " + path};
    }
    files::MakeDirOptions options;
    options.owner = owner_of(user);
    Result<bool> made = files::make_dir(path, options);
    if (!made) {
        bool blocked = made.error().sys_errno == ENOTDIR;
        return internal((blocked ? "path is a file: " : "") + made.error().message);
    }
    if (!*made) return ConnectError{Code::already_exists, "directory already exists: " + path};
    return entry_answer(path, caller);
}

Reply<std::string> move_entry(const std::string& source, const std::string& destination, const User& user,
                              const Caller& caller) {
    if (Result<files::Entry> there = files::stat(source); !there) {
        if (there.error().code == Errc::not_found)
            return ConnectError{Code::not_found, "source file not found: " + there.error().message};
        return internal(there.error().message);
    }
    files::TransferOptions options;
    options.create_parents = true;
    options.owner = owner_of(user);
    Result<> moved = files::move(source, destination, options);
    if (!moved) {
        const Error& error = moved.error();
        const bool blocked = error.sys_errno == ENOTDIR && error.message.starts_with("mkdir ");
        return internal((blocked ? "path is a file: " : "error renaming: ") + error.message);
    }
    return entry_answer(destination, caller);
}

Reply<std::string> list_directory(const std::string& path, std::uint32_t depth, const Caller& caller) {
    files::StatOptions follow;
    follow.follow = true;
    Result<files::Entry> start = files::stat(path, follow);
    if (!start) {
        const Error& error = start.error();
        if (error.sys_errno == ELOOP) {
            return ConnectError{Code::failed_precondition,
                                "cyclic symlink or chain too long: " + error.message};
        }
        if (error.code == Errc::not_found)
            return ConnectError{Code::not_found, "path not found: " + error.message};
        return internal(error.message);
    }
    if (start->kind != Kind::directory)
        return ConnectError{Code::invalid_argument, "path is not a directory: " + path};
    Accounts accounts = Accounts::load();
    std::string body;
    JsonWriter writer(body);
    writer.begin_object().key("entries").begin_array();
    files::WalkOptions options;
    options.depth = depth;
    options.metadata = true;
    Result<> walked = files::walk(path, options, [&](files::Entry&& entry) {
        if (!files::is_staging_name(entry.name)) write_entry(writer, entry, accounts, form_for(caller));
        return true;
    });
    if (!walked) {
        const Error& error = walked.error();
        if (error.code == Errc::not_found)
            return ConnectError{Code::not_found, "directory not found: " + error.message};
        return internal(error.message);
    }
    writer.end_array().end_object();
    return body;
}

Reply<std::string> remove_entry(const std::string& path) {
    Result<> removed = files::remove_all(path);
    if (!removed && removed.error().code != Errc::not_found) return internal(removed.error().message);
    return std::string("{}");
}

// Runs work(PathContext) -> Reply<std::string> on a file thread for the path of the request.
template <class Work>
Task<Reply<std::string>> with_path(UnaryCall& call, std::string_view name, Work work) {
    Reply<std::string> path = call.message->text(name);
    if (!path) co_return path.error();
    Caller caller = rpc_caller(call.http, call.context.settings);
    auto job = [&]() -> Reply<std::string> {
        Reply<PathContext> settled = settle_path(caller, *path);
        if (!settled) return settled.error();
        return work(*settled, caller);
    };
    co_return co_await call.context.file_pool.run_on(*path, job);
}

}  // namespace

Task<Reply<std::string>> stat_path(UnaryCall& call) {
    auto work = [](const PathContext& at, const Caller& caller) { return entry_answer(at.path, caller); };
    return with_path(call, "path", work);
}

Task<Reply<std::string>> make_dir(UnaryCall& call) {
    auto work = [](const PathContext& at, const Caller& caller) {
        return make_directory(at.path, at.user, caller);
    };
    return with_path(call, "path", work);
}

Task<Reply<std::string>> remove_path(UnaryCall& call) {
    auto work = [](const PathContext& at, const Caller&) { return remove_entry(at.path); };
    return with_path(call, "path", work);
}

Task<Reply<std::string>> move_path(UnaryCall& call) {
    Reply<std::string> destination = call.message->text("destination");
    if (!destination) co_return destination.error();
    std::string to = std::move(*destination);
    auto work = [&to](const PathContext& at, const Caller& caller) -> Reply<std::string> {
        Result<std::string> target = resolve_path(to, at.user, caller);
        if (!target) return to_connect_error(target.error());
        return move_entry(at.path, *target, at.user, caller);
    };
    co_return co_await with_path(call, "source", work);
}

Task<Reply<std::string>> list_dir(UnaryCall& call) {
    Reply<std::int64_t> depth = call.message->integer("depth");
    if (!depth) co_return depth.error();
    if (*depth < 0 || *depth > UINT32_MAX) {
        co_return ConnectError{Code::invalid_argument, "depth is out of range"};
    }
    const std::uint32_t levels = *depth == 0 ? 1 : static_cast<std::uint32_t>(*depth);
    auto work = [levels](const PathContext& at, const Caller& caller) {
        return list_directory(clean_path(at.path), levels, caller);
    };
    co_return co_await with_path(call, "path", work);
}

}  // namespace sandbox::e2b
