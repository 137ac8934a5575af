// The escaper: the cuts do not matter, the result is always JSON, valid text reads back as it was.

#include "base/json_escape.hpp"

#include <nlohmann/json.hpp>
#include <string>

#include "base/utf8.hpp"
#include "fuzz/fuzz_input.hpp"

namespace {

using namespace sandbox;

// Bad bytes replaced, one by one.
std::string repaired(std::string_view bytes) {
    std::string text;
    const char* const end = bytes.data() + bytes.size();
    for (const char* p = bytes.data(); p != end;) {
        const Utf8Step step = utf8_step(p, end);
        if (step.kind == Utf8Step::Kind::ok) {
            text.append(p, step.length);
            p += step.length;
        } else {
            text += "\uFFFD";
            ++p;
        }
    }
    return text;
}

}  // namespace

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
        FUZZ_CHECK(parsed.is_string() && parsed.get_ref<const std::string&>() == repaired(input.text));
        for (const char c : whole) {
            FUZZ_CHECK(static_cast<unsigned char>(c) >= 0x20);
            FUZZ_CHECK(charset == JsonCharset::utf8 || static_cast<unsigned char>(c) < 0x80);
            FUZZ_CHECK(c != '<' && c != '>' && c != '&');
        }
    }
    return 0;
}
