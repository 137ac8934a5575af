#pragma once
// Parsers of texts under /proc (proc(5)); reading the files is the platform's part. Pure functions.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sandbox {

struct ProcStat {
    int pid = 0;
    std::string comm;  // at most 15 bytes of any kind
    char state = '?';  // 'R', 'S', 'D', 'Z', 'T', 't', 'X', ...
    int ppid = 0;
    int pgrp = 0;
    int session = 0;
    std::uint64_t utime = 0;  // clock ticks (sysconf(_SC_CLK_TCK))
    std::uint64_t stime = 0;  // the same
    std::uint64_t starttime =
        0;  // clock ticks since boot; pid and starttime together name a process for good
};

// The text of /proc/<pid>/stat. The comm may hold anything, ") R 1" included. Nothing when the text is not of
// that form or is cut off before starttime.
std::optional<ProcStat> parse_proc_stat(std::string_view text);

// Whether the text of /proc/<pid>/environ, strings each ended by NUL, has exactly the entry "KEY=VALUE".
bool environ_has(std::string_view environ_text, std::string_view entry);

}  // namespace sandbox
