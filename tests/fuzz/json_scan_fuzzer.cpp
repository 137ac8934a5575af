// The scanner against nlohmann: both accept the same texts, except for the differences that are meant, and
// find the same in them; and the cuts do not matter.

#include "base/json_scan.hpp"

#include <nlohmann/json.hpp>
#include <string>

#include "base/json_writer.hpp"
#include "fuzz/fuzz_input.hpp"
#include "unit/base/json_record.hpp"

namespace {

using namespace sandbox;
using nlohmann::json;

json rebuilt(const std::vector<test::Member>& members) {
    json object = json::object();
    for (const test::Member& member : members) {
        object[member.key] =
            member.kind == ValueKind::string ? json(member.text) : json::parse(member.text, nullptr, false);
    }
    return object;
}

// nlohmann refuses what we repair or leave alone: bad UTF-8, lone surrogates, numbers past a double's range.
bool may_differ(std::string_view text) {
    for (const char c : text) {
        if (static_cast<unsigned char>(c) >= 0x80 || c == 'e' || c == 'E') return true;
    }
    return text.find("\\ud") != std::string_view::npos || text.find("\\uD") != std::string_view::npos ||
           text.size() > 300;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::Input input(data, size);
    const test::Scan whole = test::scan(std::vector{input.text});
    const test::Scan pieces = test::scan(fuzz::cut(input.text, input.choice));
    FUZZ_CHECK(!whole.misused && !pieces.misused);
    FUZZ_CHECK(whole == pieces);

    // nlohmann skips a byte order mark and takes a NUL after the value for the end of the text.
    if (input.text.starts_with("\xEF\xBB\xBF")) FUZZ_CHECK(!whole.valid);
    if (input.text.starts_with("\xEF\xBB\xBF") || input.text.find('\0') != std::string_view::npos) return 0;

    const json reference = json::parse(input.text, nullptr, false);
    const bool accepted = reference.is_object() || reference.is_null();
    if (accepted && !whole.valid) {
        const bool bound =
            whole.error.starts_with("nested too deep") || whole.error.starts_with("key too long");
        FUZZ_CHECK(bound);
    } else if (accepted) {
        FUZZ_CHECK(rebuilt(whole.members) == (reference.is_null() ? json::object() : reference));
    } else if (whole.valid) {
        FUZZ_CHECK(may_differ(input.text));
        // What was let through is valid text all the same.
        for (const test::Member& member : whole.members) {
            std::string written;
            JsonWriter(written).begin_object().member(member.key, member.text).end_object();
            FUZZ_CHECK(json::accept(written));
            FUZZ_CHECK(json::parse(written)[member.key] == member.text);
        }
    }
    return 0;
}
