#pragma once
// What the calls for processes have in common: which process is meant, and the size of a terminal.

#include <memory>

#include "e2b/connect_error.hpp"
#include "e2b/message.hpp"
#include "services/process_table.hpp"

namespace sandbox::e2b {

enum class Lookup {
    running,        // until its end event
    or_just_ended,  // and for 30 s after it
};

// By {"process":{"pid":n}} or {"process":{"tag":"t"}}, whatever dialect started it. not_found: "process with
// pid 7 not found".
Reply<std::shared_ptr<ManagedProcess>> find_process(const ProcessTable& table, const Message& request,
                                                    Lookup lookup);

// {"size":{"cols":80,"rows":24}}; nothing without a size.
Reply<std::optional<PtySize>> parse_pty_size(const Message& pty);

}  // namespace sandbox::e2b
