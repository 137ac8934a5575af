// The small parsers: times and the texts of /proc.

#include <string>

#include "base/proc_text.hpp"
#include "base/rfc3339.hpp"
#include "fuzz/fuzz_input.hpp"

using namespace sandbox;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::Input input(data, size);
    if (const auto time = parse_rfc3339(input.text)) FUZZ_CHECK(parse_rfc3339(format_rfc3339(*time)) == time);
    if (const auto time = parse_http_date(input.text)) FUZZ_CHECK(format_http_date(*time) == input.text);
    if (const auto stat = parse_proc_stat(input.text)) {
        // Fields end with a blank or the line.
        const std::string state = ") " + std::string(1, stat->state);
        FUZZ_CHECK(input.text.find(state + " ") != std::string_view::npos ||
                   input.text.find(state + "\n") != std::string_view::npos);
    }
    if (environ_has(input.text, "A=1")) FUZZ_CHECK(input.text.find("A=1") != std::string_view::npos);
    return 0;
}
