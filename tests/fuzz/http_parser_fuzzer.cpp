// Request heads and chunked bodies: what is accepted is unambiguous, and the cuts do not matter.

#include "net/http_parser.hpp"

#include <cstdio>
#include <string>
#include <vector>

#include "fuzz/fuzz_input.hpp"

using namespace sandbox;
using namespace sandbox::net;

namespace {

void check_head(std::string_view text) {
    const std::size_t end = find_head_end(text, 0);
    if (end == std::string_view::npos) return;
    FUZZ_CHECK(end > 0 && end <= text.size() && text[end - 1] == '\n');
    // Found as well by somebody who gets the bytes one by one; earlier only when it is refused for a bare LF.
    for (std::size_t have = 1; have < end; ++have) {
        const std::size_t found = find_head_end(text.substr(0, have), have > 4 ? have - 4 : 0);
        if (found == std::string_view::npos) continue;
        FUZZ_CHECK(!parse_head(text.substr(0, found)) && !parse_head(text.substr(0, end)));
        return;
    }
    FUZZ_CHECK(find_head_end(text.substr(0, end), end > 4 ? end - 4 : 0) == end);
    auto parsed = parse_head(text.substr(0, end));
    if (!parsed) {
        FUZZ_CHECK(parsed.error().status >= 400 && parsed.error().status < 600);
        FUZZ_CHECK(!parsed.error().message.empty());
        return;
    }
    const Request& request = parsed->request;
    FUZZ_CHECK(request.version == 10 || request.version == 11);
    FUZZ_CHECK(!request.chunked || !request.content_length);
    FUZZ_CHECK(!parsed->target.empty());
    FUZZ_CHECK(parsed->target.find_first_of(std::string_view(" \r\n\0", 4)) == std::string::npos);
    for (const auto& [name, value] : request.headers) {
        FUZZ_CHECK(!name.empty());
        FUZZ_CHECK(name.find_first_of(std::string_view(" \t\r\n\0:ABCDEFGHIJKLMNOPQRSTUVWXYZ", 32)) ==
                   std::string::npos);
        FUZZ_CHECK(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
        FUZZ_CHECK(text.find(value) != std::string_view::npos);
    }
    // One body, whose length is told in one way.
    std::size_t lengths = 0;
    std::size_t encodings = 0;
    std::size_t hosts = 0;
    for (const auto& [name, value] : request.headers) {
        lengths += name == "content-length" ? 1U : 0U;
        encodings += name == "transfer-encoding" ? 1U : 0U;
        hosts += name == "host" ? 1U : 0U;
    }
    FUZZ_CHECK(lengths == 0 || encodings == 0);
    FUZZ_CHECK(request.chunked == (encodings > 0));
    FUZZ_CHECK(hosts == 1 || (hosts == 0 && request.version == 10));
}

struct Body {
    std::string text;
    std::size_t taken = 0;
    bool failed = false;
    bool done = false;
    bool operator==(const Body&) const = default;
};

Body read_chunked(const std::vector<std::string_view>& pieces) {
    ChunkedBody reader;
    Body body;
    std::string rest;
    for (const std::string_view piece : pieces) {
        rest += piece;
        Result<std::size_t> taken = reader.feed(rest, body.text);
        if (!taken) {
            body.failed = true;
            body.taken = 0;
            return body;
        }
        FUZZ_CHECK(*taken <= rest.size());
        body.taken += *taken;
        rest.erase(0, *taken);
        if (reader.done()) {
            body.done = true;
            return body;
        }
    }
    return body;
}

void check_chunks(std::string_view text, unsigned choice) {
    const Body whole = read_chunked({text});
    const Body pieces = read_chunked(fuzz::cut(text, choice | 1));
    FUZZ_CHECK(whole.failed == pieces.failed && whole.done == pieces.done);
    if (whole.done) FUZZ_CHECK(whole == pieces);
    if (!whole.failed) FUZZ_CHECK(whole.text == pieces.text);
}

// What is written as chunks is read back, and not a byte behind the end is touched.
void check_round_trip(std::string_view text, unsigned choice) {
    std::string encoded;
    for (const std::string_view piece : fuzz::cut(text, choice)) {
        if (piece.empty()) continue;
        char line[24];
        std::snprintf(line, sizeof line, (choice & 2) != 0 ? "%zX\r\n" : "%zx\r\n", piece.size());
        encoded += line;
        encoded += piece;
        encoded += "\r\n";
    }
    encoded += "0\r\n\r\n";
    const std::size_t length = encoded.size();
    encoded += "GET / HTTP/1.1\r\n";
    for (const auto& pieces : {std::vector<std::string_view>{encoded}, fuzz::cut(encoded, choice * 7 + 1)}) {
        const Body body = read_chunked(pieces);
        FUZZ_CHECK(!body.failed && body.done);
        FUZZ_CHECK(body.text == text && body.taken == length);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::Input input(data, size);
    check_head(input.text);
    check_chunks(input.text, input.choice);
    check_round_trip(input.text, input.choice);
    return 0;
}
