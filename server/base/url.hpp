#pragma once
// The parts of a request target. Pure functions and value types; thread-safe.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sandbox {

enum class PlusSign : bool { literal, space };

// Percent-decoding (RFC 3986, 2.1); nothing when a '%' is not followed by two hex digits. The result may hold
// any bytes, NUL included.
std::optional<std::string> percent_decode(std::string_view text, PlusSign plus = PlusSign::literal);

// The pairs of "a=1&b=2" (application/x-www-form-urlencoded). As in Go, a pair with a bad escape or a ';' is
// left out and the others count.
class Query {
  public:
    Query() = default;
    explicit Query(std::string_view text);

    // The first value of that name; nothing when there is none. "a" and "a=" both have the value "". The view
    // lives as long as the Query.
    std::optional<std::string_view> get(std::string_view name) const;

    const std::vector<std::pair<std::string, std::string>>& pairs() const { return pairs_; }

  private:
    std::vector<std::pair<std::string, std::string>> pairs_;
};

// The shortest equal path by text alone, as Go's path.Clean: no "//", no ".", ".." resolved, no '/' at the
// end; ""
// is ".".
std::string clean_path(std::string_view path);

// The canonical form of a URL path, as Go's request router has it: rooted, clean, a '/' at the end kept. A
// request for another form is answered with a redirect to this one.
std::string clean_url_path(std::string_view path);

}  // namespace sandbox
