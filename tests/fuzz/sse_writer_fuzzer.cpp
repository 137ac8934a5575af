// The events of /run_streaming, read back by the client library's parser: the lines are those of the output,
// whatever the cuts, and nothing is lost.

#include "koyeb/sse_writer.hpp"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fuzz/memory_exchange.hpp"
#include "fuzz/repaired.hpp"
#include "sse_parser.hpp"

// Not `using namespace sandbox`: the dialect and the client library would both be `koyeb`.
namespace fuzz = sandbox::fuzz;
namespace server = sandbox::koyeb;
using sandbox::Loop;
using sandbox::StreamId;
using sandbox::Task;

namespace {

struct Line {
    std::string text;
    std::string eol;
    bool operator==(const Line&) const = default;
};
using Streams = std::vector<Line>[2];

// By the words of the README: a line ends at a newline, and what carriage returns stand before it are its
// end.
std::vector<Line> lines_of(std::string_view output) {
    std::vector<Line> lines;
    while (!output.empty()) {
        const std::size_t newline = output.find('\n');
        std::string_view line = output.substr(0, newline);
        std::string eol = newline == std::string_view::npos ? "" : "\n";
        output.remove_prefix(std::min(line.size() + 1, output.size()));
        while (line.ends_with('\r')) {
            line.remove_suffix(1);
            eol.insert(0, "\r");
        }
        lines.push_back({fuzz::repaired(line), eol});
    }
    return lines;
}

void read_events(std::string_view sent, unsigned choice, Streams& streams) {
    ::koyeb::sandbox::SseParser parser;
    for (const auto piece : fuzz::cut(sent, choice)) parser.feed(piece);
    FUZZ_CHECK(!parser.in_event());
    while (const auto event = parser.next()) {
        FUZZ_CHECK(event->type == "output");
        const auto json = nlohmann::json::parse(event->data);
        const std::string stream = json["stream"];
        FUZZ_CHECK(stream == "stdout" || stream == "stderr");
        FUZZ_CHECK(!json.contains("partial"));
        streams[stream == "stderr"].push_back({json["data"], json.value("eol", "\n")});
    }
}

Task<> write_all(server::SseWriter& writer, std::shared_ptr<server::SseSink> sink,
                 std::vector<std::string_view> pieces, std::vector<StreamId> order) {
    co_await writer.begin();
    for (std::size_t i = 0; i < pieces.size(); ++i) co_await sink->on_output(order[i], pieces[i]);
    co_await sink->on_end(StreamId::stdout_);
    // The other stream is left open: finish() ends it.
    sink->finish();
    co_await writer.finish();
    sink->stop();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::Input input(data, size);
    const auto pieces = fuzz::cut(input.text, input.choice);
    std::vector<StreamId> order;
    std::string output[2];
    for (const auto piece : pieces) {
        const bool to_stderr = (input.choice & 1) != 0 && piece.size() % 2 == 1;
        order.push_back(to_stderr ? StreamId::stderr_ : StreamId::stdout_);
        output[to_stderr] += piece;
    }
    static Loop loop{1};
    fuzz::MemoryExchange exchange(sandbox::net::Request(), {}, 0);
    {
        server::SseWriter writer(exchange, loop);
        auto sink = std::make_shared<server::SseSink>(writer, loop, server::SseSink::Options());
        bool ended = false;
        sandbox::spawn_task(loop, "writer", write_all(writer, sink, pieces, order),
                            [&ended] { ended = true; });
        loop.restart();
        loop.poll();
        FUZZ_CHECK(ended && exchange.finished);
    }
    for (const unsigned choice : {0U, input.choice * 3 + 1}) {
        Streams streams;
        read_events(exchange.answer, choice, streams);
        FUZZ_CHECK(streams[0] == lines_of(output[0]));
        FUZZ_CHECK(streams[1] == lines_of(output[1]));
    }
    return 0;
}
