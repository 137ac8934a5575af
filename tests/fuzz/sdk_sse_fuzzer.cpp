// The client library's event parser against the rules of the standard taken literally, and the decoders of
// events: they throw the documented errors and nothing else.

#include "sse_parser.hpp"

#include <string>
#include <vector>

#include "codec.hpp"
#include "fuzz/fuzz_input.hpp"
#include "koyeb/sandbox/errors.hpp"

using namespace koyeb::sandbox;
namespace fuzz = ::sandbox::fuzz;

namespace {

bool same(const SseEvent& a, const SseEvent& b) {
    return a.type == b.type && a.data == b.data && a.id == b.id;
}

std::vector<SseEvent> parsed(std::string_view text, unsigned choice) {
    SseParser parser;
    std::vector<SseEvent> events;
    for (const auto piece : fuzz::cut(text, choice)) {
        parser.feed(piece);
        while (auto event = parser.next()) events.push_back(*event);
    }
    return events;
}

// HTML living standard, 9.2.5 and 9.2.6, line by line.
std::vector<SseEvent> by_the_book(std::string_view text) {
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    std::vector<SseEvent> events;
    std::string type;
    std::string data;
    std::string id;
    for (;;) {
        const std::size_t end = text.find_first_of("\r\n");
        if (end == std::string_view::npos) return events;  // an unfinished line is no line
        const std::string line(text.substr(0, end));
        text.remove_prefix(text.substr(end).starts_with("\r\n") ? end + 2 : end + 1);
        if (line.empty()) {
            if (!data.empty()) {
                data.pop_back();
                events.push_back({type, data, id});
            }
            data.clear();
            type.clear();
            continue;
        }
        const std::size_t colon = line.find(':');
        if (colon == 0) continue;
        const std::string field = line.substr(0, colon);
        std::string value = colon == std::string::npos ? "" : line.substr(colon + 1);
        if (value.starts_with(' ')) value.erase(0, 1);
        if (field == "event") type = value;
        if (field == "data") data += value + '\n';
        if (field == "id" && value.find('\0') == std::string::npos) id = value;
    }
}

void decode(const SseEvent& event) {
    try {
        static_cast<void>(codec::decode_command_event(event));
    } catch (const SandboxError&) {
    }
    try {
        static_cast<void>(codec::decode_log_event(event));
    } catch (const SandboxError&) {
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::Input input(data, size);
    const auto expected = by_the_book(input.text);
    for (const unsigned choice : {0U, input.choice}) {
        const auto events = parsed(input.text, choice);
        FUZZ_CHECK(events.size() == expected.size());
        for (std::size_t i = 0; i < events.size(); ++i) FUZZ_CHECK(same(events[i], expected[i]));
    }
    for (const SseEvent& event : expected) decode(event);
    decode({"log", std::string(input.text), "1"});
    decode({"gap", std::string(input.text), "x"});
    return 0;
}
