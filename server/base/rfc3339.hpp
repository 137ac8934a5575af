#pragma once
// Times on the wire. All times are UTC; no locale and no time zone database is touched. Thread-safe.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sandbox {

// "2026-11-21T00:29:03.5Z" from nanoseconds since 1970-01-01T00:00:00Z: RFC 3339 with up to 9 digits of
// fraction, trailing zeros cut, none at all for a whole second (Go's RFC3339Nano).
std::string format_rfc3339(std::int64_t ns_since_epoch);

// The reverse, with any offset ("+02:00") and any number of fraction digits (those past the 9th are dropped).
// 't' and 'z' may be in lower case (RFC 3339, 5.6). Nothing for other text, for dates that do not exist, for
// second 60 and for times outside of what 64 bits of nanoseconds hold (1677-09-21 to 2262-04-11).
std::optional<std::int64_t> parse_rfc3339(std::string_view text);

// "Sat, 21 Nov 2026 00:29:03 GMT" (IMF-fixdate, RFC 9110, 5.6.7) from seconds since 1970. Range: years 0 to
// 9999.
std::string format_http_date(std::int64_t seconds_since_epoch);

// The reverse; only this form, and only with the right day of the week.
std::optional<std::int64_t> parse_http_date(std::string_view text);

}  // namespace sandbox
