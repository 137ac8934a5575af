#pragma once
// Small texts of HTTP/1.1 (RFC 9110, RFC 9112).

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace sandbox::net {

// Appends "200 OK\r\n".
void append_status_line(std::string& out, int status);

// The present time as an IMF-fixdate; computed once a second.
std::string_view http_date_now();

// "<hex>\r\n" of a chunk's size, written into `buffer` (20 bytes).
std::string_view chunk_size_line(std::size_t size, char* buffer);

struct Target {
    std::string path;   // percent-decoded
    std::string query;  // as sent
};
// Origin form or absolute form. Absent when it is malformed: no slash, a bad escape.
std::optional<Target> split_target(std::string_view target);

// Escapes what a path in a Location header must not hold.
std::string percent_encode_path(std::string_view path);

}  // namespace sandbox::net
