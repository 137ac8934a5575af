#pragma once
// The events of a process as enveloped messages, appended to an answer.

#include <sys/types.h>

#include <string>
#include <string_view>

#include "services/command.hpp"

namespace sandbox::e2b {

void append_start_event(std::string& out, pid_t pid);
// As many messages as the bytes need, of at most 32 KiB each (16 KiB from a terminal).
void append_data_events(std::string& out, StreamId stream, std::string_view bytes);
void append_keepalive_event(std::string& out);
void append_end_event(std::string& out, const CommandEnd& end);

// "exit status 3", "signal: killed", "signal: aborted (core dumped)": as Go's os.ProcessState tells it.
std::string status_text(const ExitStatus& status);

}  // namespace sandbox::e2b
