// The framing of Connect streams: any cut gives the same envelopes, and writing them again the same bytes.

#include <string>
#include <vector>

#include "e2b/envelope.hpp"
#include "e2b/message.hpp"
#include "fuzz/fuzz_input.hpp"

using namespace sandbox;
using namespace sandbox::e2b;

namespace {

constexpr std::size_t kLimit = 4096;

struct Outcome {
    std::string rewritten;
    bool failed = false;
    bool at_boundary = false;
};

Outcome read(const std::vector<std::string_view>& pieces) {
    EnvelopeReader reader(kLimit);
    Outcome outcome;
    for (std::string_view piece : pieces) {
        reader.feed(piece);
        for (;;) {
            Result<std::optional<Envelope>> envelope = reader.next();
            if (!envelope) {
                outcome.failed = true;
                return outcome;
            }
            if (!*envelope) break;
            FUZZ_CHECK((*envelope)->payload.size() <= kLimit);
            append_envelope(outcome.rewritten, (*envelope)->flags, (*envelope)->payload);
        }
    }
    outcome.at_boundary = reader.at_boundary();
    return outcome;
}

void read_message(std::string_view text) {
    Reply<std::unique_ptr<Message>> message = Message::parse(text);
    if (!message) return;
    for (const char* name : {"process", "input", "pty", "size"}) {
        Reply<std::unique_ptr<Message>> inner = (*message)->message(name);
        if (!inner || !*inner) continue;
        static_cast<void>((*inner)->text("cmd"));
        static_cast<void>((*inner)->texts("args"));
        static_cast<void>((*inner)->text_map("envs"));
        static_cast<void>((*inner)->integer("pid"));
        static_cast<void>((*inner)->bytes("stdin"));
        static_cast<void>((*inner)->name_or_number("signal"));
        static_cast<void>((*inner)->flag("includeEntry"));
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::Input input(data, size);
    const Outcome whole = read({input.text});
    const Outcome cut = read(fuzz::cut(input.text, input.choice));
    FUZZ_CHECK(whole.failed == cut.failed);
    FUZZ_CHECK(whole.rewritten == cut.rewritten);
    FUZZ_CHECK(input.text.starts_with(whole.rewritten));
    if (!whole.failed) FUZZ_CHECK(whole.at_boundary == (whole.rewritten.size() == input.text.size()));
    if (input.text.size() > kEnvelopeHead) read_message(input.text.substr(kEnvelopeHead));
    return 0;
}
