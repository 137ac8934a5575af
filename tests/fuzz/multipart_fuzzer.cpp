// Multipart bodies: any cut gives the same parts, and no content holds a boundary.

#include <string>
#include <vector>

#include "e2b/http_values.hpp"
#include "e2b/multipart.hpp"
#include "fuzz/fuzz_input.hpp"

using namespace sandbox;
using namespace sandbox::e2b;

namespace {

struct Outcome {
    std::string parts;  // heads and contents, marked off from each other
    bool failed = false;
    bool ended = false;
};

Outcome read(const std::vector<std::string_view>& pieces) {
    using Event = MultipartReader::Event;
    MultipartReader reader("b");
    Outcome outcome;
    std::size_t fed = 0;
    std::size_t content = 0;
    for (std::string_view piece : pieces) {
        reader.feed(piece);
        fed += piece.size();
        for (bool more = true; more && !outcome.ended;) {
            Result<Event> event = reader.next();
            if (!event) {
                outcome.failed = true;
                return outcome;
            }
            if (*event == Event::need_more) more = false;
            if (*event == Event::end) outcome.ended = true;
            if (*event == Event::part) {
                outcome.parts += "[" + reader.head().name + "|" + reader.head().filename.value_or("") + "]";
            }
            if (*event == Event::data) {
                FUZZ_CHECK(!reader.data().empty());
                content += reader.data().size();
                outcome.parts += reader.data();
            }
            if (*event == Event::part_end) outcome.parts += "[end]";
        }
        FUZZ_CHECK(content <= fed);
    }
    return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::Input input(data, size);
    const Outcome whole = read({input.text});
    const Outcome cut = read(fuzz::cut(input.text, input.choice));
    FUZZ_CHECK(whole.failed == cut.failed && whole.ended == cut.ended);
    FUZZ_CHECK(whole.parts == cut.parts);

    const HeaderValue value = parse_header_value(input.text);
    FUZZ_CHECK(value.parameters.size() <= input.text.size());
    const auto [kind, range] = parse_range(input.text, 1000);
    if (kind == RangeKind::satisfiable) FUZZ_CHECK(range.length > 0 && range.first + range.length <= 1000);
    const std::string disposition = inline_disposition(input.text);
    FUZZ_CHECK(disposition.find_first_of("\r\n") == std::string::npos);
    FUZZ_CHECK(*parse_header_value(disposition).parameter("filename") == input.text);
    return 0;
}
