// The line splitter: nothing is lost, the cuts do not matter, and each line ends in exactly one piece.

#include "base/line_splitter.hpp"

#include <string>
#include <vector>

#include "fuzz/fuzz_input.hpp"

namespace {

using namespace sandbox;

struct Piece {
    std::string text;
    std::string eol;
    bool partial;
    bool operator==(const Piece&) const = default;
};

std::vector<Piece> split(CrRule rule, std::size_t max_line, std::string_view text, unsigned choice,
                         bool flush) {
    LineSplitter splitter(rule, max_line);
    std::vector<Piece> lines;
    const auto collect = [&](const LinePiece& piece) {
        lines.push_back({std::string(piece.text), std::string(piece.eol), piece.partial});
    };
    for (const auto piece : fuzz::cut(text, choice)) {
        splitter.feed(piece, collect);
        if (flush && piece.size() % 3 == 0) splitter.flush(collect);
    }
    splitter.finish(collect);
    FUZZ_CHECK(splitter.held() == 0);
    return lines;
}

void check(const std::vector<Piece>& lines, std::string_view text, std::size_t max_line) {
    std::string joined;
    for (const Piece& piece : lines) {
        FUZZ_CHECK(piece.text.find('\n') == std::string::npos && piece.text.size() <= max_line);
        FUZZ_CHECK(piece.partial ? piece.eol.empty() && !piece.text.empty() : true);
        FUZZ_CHECK(piece.eol.find_first_not_of('\r') >= (piece.eol.empty() ? 0 : piece.eol.size() - 1));
        joined += piece.text + piece.eol;
    }
    FUZZ_CHECK(joined == text);
    FUZZ_CHECK(lines.empty() || !lines.back().partial);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::Input input(data, size);
    const CrRule rule = (input.choice & 1) != 0 ? CrRule::all : CrRule::one;
    const std::size_t max_line =
        (input.choice & 2) != 0 ? 4 + (input.choice >> 4) : LineSplitter::kDefaultMaxLine;
    const auto whole = split(rule, max_line, input.text, 0, false);
    check(whole, input.text, max_line);
    FUZZ_CHECK(split(rule, max_line, input.text, input.choice | 1, false) == whole);
    check(split(rule, max_line, input.text, input.choice | 1, true), input.text, max_line);
    return 0;
}
