// The escaper: the cuts do not matter, the result is always JSON, valid text reads back as it was.

#include "base/json_escape.hpp"

#include <nlohmann/json.hpp>
#include <string>

#include "fuzz/fuzz_input.hpp"
#include "fuzz/repaired.hpp"

using namespace sandbox;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::Input input(data, size);
    for (const JsonCharset charset : {JsonCharset::utf8, JsonCharset::ascii}) {
        std::string whole;
        append_json_string(whole, input.text, charset);
        JsonEscaper escaper(charset);
        std::string pieces = "\"";
        for (const auto piece : fuzz::cut(input.text, input.choice)) escaper.append(pieces, piece);
        escaper.finish(pieces);
        pieces += '"';
        FUZZ_CHECK(pieces == whole);
        const auto parsed = nlohmann::json::parse(whole, nullptr, false);
        FUZZ_CHECK(parsed.is_string() && parsed.get_ref<const std::string&>() == fuzz::repaired(input.text));
        for (const char c : whole) {
            FUZZ_CHECK(static_cast<unsigned char>(c) >= 0x20);
            FUZZ_CHECK(charset == JsonCharset::utf8 || static_cast<unsigned char>(c) < 0x80);
            FUZZ_CHECK(c != '<' && c != '>' && c != '&');
        }
    }
    return 0;
}
