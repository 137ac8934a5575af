#include "e2b/process_lookup.hpp"

namespace sandbox::e2b {
namespace {

constexpr std::chrono::seconds kKeptAfterEnd{30};

bool counts(const ManagedProcess& process, Lookup lookup) {
    if (process.lasts()) return true;
    if (lookup == Lookup::running) return false;
    auto ended_at = process.output().ended_at();
    return !ended_at || std::chrono::steady_clock::now() - *ended_at < kKeptAfterEnd;
}

}  // namespace

Reply<std::shared_ptr<ManagedProcess>> find_process(const ProcessTable& table, const Message& request,
                                                    Lookup lookup) {
    Reply<std::unique_ptr<Message>> selector = request.message("process");
    if (!selector) return selector.error();
    if (!*selector || (!(*selector)->has("pid") && !(*selector)->has("tag"))) {
        return ConnectError{Code::invalid_argument, "process must have a pid or a tag"};
    }
    std::shared_ptr<ManagedProcess> process;
    std::string name;
    if ((*selector)->has("pid")) {
        Reply<std::int64_t> pid = (*selector)->integer("pid");
        if (!pid) return pid.error();
        if (*pid > 0 && *pid <= INT32_MAX) process = table.find_pid(static_cast<pid_t>(*pid));
        name = "pid " + std::to_string(*pid);
    } else {
        Reply<std::string> tag = (*selector)->text("tag");
        if (!tag) return tag.error();
        process = table.find_tag(*tag);
        name = "tag " + *tag;
    }
    if (!process || !counts(*process, lookup)) {
        return ConnectError{Code::not_found, "process with " + name + " not found"};
    }
    return process;
}

Reply<std::optional<PtySize>> parse_pty_size(const Message& pty) {
    Reply<std::unique_ptr<Message>> size = pty.message("size");
    if (!size) return size.error();
    if (!*size) return std::optional<PtySize>();
    Reply<std::int64_t> columns = (*size)->integer("cols");
    Reply<std::int64_t> rows = (*size)->integer("rows");
    if (auto error = first_error(columns, rows)) return *error;
    if (*columns < 0 || *columns > UINT16_MAX || *rows < 0 || *rows > UINT16_MAX) {
        return ConnectError{Code::invalid_argument, "size must be within 0 and 65535"};
    }
    PtySize parsed;
    parsed.columns = static_cast<std::uint16_t>(*columns);
    parsed.rows = static_cast<std::uint16_t>(*rows);
    return std::optional<PtySize>(parsed);
}

}  // namespace sandbox::e2b
