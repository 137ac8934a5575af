#pragma once
// Parsers of texts under /proc (proc(5)); reading the files is the platform's part. Pure functions.

#include <cstdint>
#include <optional>
#include <string_view>

namespace sandbox {

// Fields of /proc/<pid>/stat, by their names there.
struct ProcStat {
    int pid = 0;
    char state = '?';  // 'R', 'S', 'D', 'Z', 'T', 't', 'X', ...
    int ppid = 0;
    int pgrp = 0;
    int session = 0;
    std::uint64_t num_threads = 0;
    std::uint64_t starttime = 0;  // clock ticks since boot; with the pid it names a process for good
};

// The text of /proc/<pid>/stat. The comm may hold anything, ") R 1" included. Nothing when the text is not of
// that form or is cut off before starttime.
std::optional<ProcStat> parse_proc_stat(std::string_view text);

// Whether the text of /proc/<pid>/environ, strings each ended by NUL, has exactly the entry "KEY=VALUE".
bool environ_has(std::string_view environ_text, std::string_view entry);

}  // namespace sandbox
