// Base64: what was encoded is decoded again, and the cuts do not matter in either direction.

#include "base/base64.hpp"

#include <string>

#include "fuzz/fuzz_input.hpp"

using namespace sandbox;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::Input input(data, size);
    const std::string encoded = base64_encode(input.text);
    Base64Encoder encoder;
    std::string pieces;
    for (const auto piece : fuzz::cut(input.text, input.choice)) encoder.append(pieces, piece);
    encoder.finish(pieces);
    FUZZ_CHECK(pieces == encoded);
    FUZZ_CHECK(base64_decode(encoded).value() == input.text);

    const auto decoded = base64_decode(input.text);
    Base64Decoder decoder;
    std::string out;
    bool valid = true;
    for (const auto piece : fuzz::cut(input.text, input.choice)) valid = decoder.append(out, piece) && valid;
    valid = decoder.finish(out) && valid;
    FUZZ_CHECK(valid == decoded.has_value());
    FUZZ_CHECK(!valid || out == *decoded);
    return 0;
}
