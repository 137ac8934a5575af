// A request body through the fields and every getter: no crash, the limit holds, values agree with
// nlohmann's.

#include "base/json_fields.hpp"

#include <nlohmann/json.hpp>
#include <string>

#include "fuzz/fuzz_input.hpp"

using namespace sandbox;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::Input input(data, size);
    JsonFields fields(512);
    std::string diverted;
    fields.divert(
        "content", [&](std::string_view part) { diverted += part; }, [&] { diverted.clear(); });
    if ((input.choice & 1) != 0) fields.keep_only({"cmd", "env", "args", "n"});
    JsonObjectScanner scanner(fields);
    for (const auto piece : fuzz::cut(input.text, input.choice)) scanner.feed(piece);
    const bool valid = scanner.finish();

    for (const char* key : {"cmd", "env", "args", "n", "content", "x"}) {
        const auto text = fields.string(key);
        const auto flag = fields.boolean(key);
        const auto number = fields.number(key);
        const auto integer = fields.integer(key);
        const auto list = fields.string_list(key);
        const auto map = fields.string_map(key);
        if (fields.find(key) == nullptr) continue;
        // A member has one type, so at most one getter (two for a number) has it.
        const int hits = int{text.has_value()} + int{flag.has_value()} + int{number.has_value()} +
                         int{list.has_value()} + int{map.has_value()};
        FUZZ_CHECK(hits <= 1);
        FUZZ_CHECK(!integer.has_value() || number.has_value());
    }
    if (!valid || fields.failure()) return 0;
    const auto reference = nlohmann::json::parse(input.text, nullptr, false);
    if (!reference.is_object() || input.text.starts_with("\xEF\xBB\xBF")) return 0;
    if (reference.contains("cmd") && reference["cmd"].is_string()) {
        FUZZ_CHECK(fields.string("cmd").value() == reference["cmd"].get<std::string>());
    }
    if (reference.contains("content") && reference["content"].is_string()) {
        FUZZ_CHECK(diverted == reference["content"].get<std::string>());
    }
    if (reference.contains("args") && reference["args"].is_array()) {
        const auto list = fields.string_list("args");
        if (list) FUZZ_CHECK(nlohmann::json(**list) == reference["args"]);
    }
    return 0;
}
