// filesystem.Filesystem: WatchDir, and the watchers of clients that poll.

#include <cerrno>

#include "base/uuid.hpp"
#include "e2b/entry_json.hpp"
#include "e2b/envelope.hpp"
#include "e2b/handlers.hpp"
#include "e2b/user_paths.hpp"
#include "e2b/watchers.hpp"

namespace sandbox::e2b {
namespace {

constexpr std::chrono::seconds kCatchUp{2};

constexpr const char* kEventTypes[] = {"EVENT_TYPE_UNSPECIFIED", "EVENT_TYPE_CREATE", "EVENT_TYPE_WRITE",
                                       "EVENT_TYPE_REMOVE",      "EVENT_TYPE_RENAME", "EVENT_TYPE_CHMOD"};

void write_change(JsonWriter& writer, const FileChange& change, const Accounts& accounts) {
    writer.begin_object().member("name", change.name);
    writer.member("type", kEventTypes[static_cast<std::size_t>(change.kind)]);
    if (change.entry) {
        writer.key("entry");
        write_entry(writer, *change.entry, accounts);
    }
    writer.end_object();
}

struct WatchRequest {
    std::string path;
    WatchOptions options;
    bool network_mounts = false;
};

Reply<WatchRequest> parse_watch(const Message& message) {
    WatchRequest request;
    Reply<std::string> path = message.text("path");
    Reply<bool> recursive = message.flag("recursive");
    Reply<bool> entries = message.flag("includeEntry");
    Reply<bool> network_mounts = message.flag("allowNetworkMounts");
    if (auto error = first_error(path, recursive, entries, network_mounts)) return *error;
    request.path = std::move(*path);
    request.options.recursive = *recursive;
    request.options.entries = *entries;
    request.network_mounts = *network_mounts;
    return request;
}

// The path to watch, or why it cannot be watched. Blocking.
Reply<std::string> check_watch(const Caller& caller, const WatchRequest& request) {
    Reply<PathContext> settled = settle_path(caller, request.path);
    if (!settled) return settled.error();
    const std::string& path = settled->path;
    files::StatOptions follow;
    follow.follow = true;
    Result<files::Entry> entry = files::stat(path, follow);
    if (!entry && entry.error().code == Errc::not_found)
        return ConnectError{Code::not_found, "path " + path + " not found: " + entry.error().message};
    if (!entry) return ConnectError{Code::internal, entry.error().message};
    if (entry->kind != files::Kind::directory)
        return ConnectError{Code::invalid_argument, "path " + path + " not a directory"};
    if (!request.network_mounts && on_network_mount(path)) {
        return ConnectError{
            Code::invalid_argument,
            "path " + path + " is on a network mount, where changes made elsewhere go unseen"};
    }
    return path;
}

Task<Reply<std::shared_ptr<FileWatch>>> open_watch(Context& context, const net::Request& http,
                                                   const Message& message) {
    Reply<WatchRequest> request = parse_watch(message);
    if (!request) co_return request.error();
    Caller caller = rpc_caller(http, context.settings);
    auto job = [&] { return check_watch(caller, *request); };
    Reply<std::string> path = co_await context.file_pool.run_on(request->path, job);
    if (!path) co_return path.error();
    auto watch = co_await context.watchers.watcher.watch(*path, request->options);
    if (!watch && watch.error().code == Errc::not_found)
        co_return ConnectError{Code::not_found, "path " + *path + " not found: " + watch.error().message};
    if (!watch) co_return to_connect_error(watch.error());
    co_return std::shared_ptr<FileWatch>(std::move(*watch));
}

// Enveloped messages of changes. Blocking, for the names of owners.
std::string encode_changes(const std::vector<FileChange>& changes) {
    Accounts accounts = Accounts::load();
    std::string out;
    std::string message;
    for (const FileChange& change : changes) {
        message.clear();
        JsonWriter writer(message);
        writer.begin_object().key("filesystem");
        write_change(writer, change, accounts);
        writer.end_object();
        append_envelope(out, kMessageFlags, message);
    }
    return out;
}

// A stream's place in Watchers.
class StreamEntry {
  public:
    StreamEntry(Watchers& watchers, FileWatch* watch) : watchers_(watchers), watch_(watch) {
        watchers_.streamed.insert(watch_);
    }
    ~StreamEntry() { watchers_.streamed.erase(watch_); }
    StreamEntry(const StreamEntry&) = delete;
    StreamEntry& operator=(const StreamEntry&) = delete;

  private:
    Watchers& watchers_;
    FileWatch* watch_;
};

Reply<std::string> watcher_id(UnaryCall& call) { return call.message->text("watcherId"); }

ConnectError no_watcher(const std::string& id) {
    return {Code::not_found, "watcher with id " + id + " not found"};
}

}  // namespace

Task<> handle_watch_dir(net::Exchange& exchange, Context& context) {
    std::unique_ptr<StreamRequest> request = co_await read_stream_request(exchange, context);
    if (!request) co_return;
    auto opened = co_await open_watch(context, exchange.request(), *request->message);
    std::optional<ConnectError> error;
    if (!opened) {
        error = opened.error();
        co_await end_stream(exchange, std::move(error));
        co_return;
    }
    std::shared_ptr<FileWatch> watch = std::move(*opened);
    StreamEntry entry(context.watchers, watch.get());
    bool expired = false;
    Timer deadline(context.loop);
    if (request->timeout) {
        deadline.start(*request->timeout, [&expired, watch] {
            expired = true;
            watch->wake();
        });
    }
    exchange.watch_disconnect([watch] { watch->wake(); });
    if (!co_await begin_stream(exchange)) co_return;
    std::string out;
    append_envelope(out, kMessageFlags, "{\"start\":{}}");
    if (!co_await exchange.write(out)) co_return;
    while (!expired && !exchange.peer_gone() && !context.draining()) {
        std::vector<FileChange> changes = watch->take();
        if (changes.empty()) {
            bool woken = co_await watch->wait_for(request->keepalive);
            if (woken) continue;
            out.clear();
            append_envelope(out, kMessageFlags, "{\"keepalive\":{}}");
        } else {
            auto job = [&changes] { return encode_changes(changes); };
            out = co_await context.file_pool.run(job);
        }
        if (!co_await exchange.write(out)) co_return;
    }
    if (exchange.peer_gone()) co_return;
    deadline.cancel();
    error = ConnectError{Code::unavailable, "the sandbox is shutting down"};
    if (expired) error = ConnectError{Code::deadline_exceeded, "context deadline exceeded"};
    co_await end_stream(exchange, std::move(error));
}

Task<Reply<std::string>> create_watcher(UnaryCall& call) {
    auto watch = co_await open_watch(call.context, call.http, *call.message);
    if (!watch) co_return watch.error();
    std::string id = "w" + uuid_v4();
    call.context.watchers.add_polled(id, std::move(*watch));
    std::string body;
    JsonWriter(body).begin_object().member("watcherId", id).end_object();
    co_return body;
}

Task<Reply<std::string>> get_watcher_events(UnaryCall& call) {
    Reply<std::string> id = watcher_id(call);
    if (!id) co_return id.error();
    auto found = call.context.watchers.polled.find(*id);
    if (found == call.context.watchers.polled.end()) co_return no_watcher(*id);
    found->second.asked = std::chrono::steady_clock::now();
    std::shared_ptr<FileWatch> watch = found->second.watch;
    // What a client did before it asked is in the answer.
    co_await watch->catch_up(kCatchUp);
    std::vector<FileChange> changes = watch->take();
    auto job = [&changes] {
        Accounts accounts = Accounts::load();
        std::string body;
        JsonWriter writer(body);
        writer.begin_object().key("events").begin_array();
        for (const FileChange& change : changes) write_change(writer, change, accounts);
        writer.end_array().end_object();
        return body;
    };
    co_return co_await call.context.file_pool.run(job);
}

Task<Reply<std::string>> remove_watcher(UnaryCall& call) {
    Reply<std::string> id = watcher_id(call);
    if (!id) co_return id.error();
    if (call.context.watchers.polled.erase(*id) == 0) co_return no_watcher(*id);
    co_return std::string("{}");
}

}  // namespace sandbox::e2b
