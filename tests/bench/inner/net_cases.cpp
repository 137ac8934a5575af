#include <cstdlib>
#include <memory>

#include "cases.hpp"
#include "e2b/multipart.hpp"
#include "koyeb/sse_writer.hpp"
#include "net/http_parser.hpp"

namespace sandbox::bench {
namespace {

// An answer that goes nowhere.
class NoExchange final : public net::Exchange {
  public:
    const net::Request& request() const override { return request_; }
    Task<Result<std::string_view>> read_body() override { co_return std::string_view(); }
    void limit_body(std::uint64_t) override {}
    void wait_for_body() override {}
    Task<bool> respond(int, std::string_view, std::string, net::HeaderList) override { co_return true; }
    Task<bool> begin(int, std::string_view, net::HeaderList, std::optional<std::uint64_t>) override {
        co_return true;
    }
    Task<bool> write(std::string_view) override { co_return true; }
    Task<bool> write_file(BlockingPool&, int, std::uint64_t, std::uint64_t) override { co_return true; }
    Task<bool> finish() override { co_return true; }
    void abort() override {}
    bool answered() const override { return true; }
    bool peer_gone() const override { return false; }
    void watch_disconnect(std::function<void()>) override {}

  private:
    net::Request request_;
};

struct Stream {
    Loop loop{1};
    NoExchange exchange;
    koyeb::SseWriter writer{exchange, loop};
    std::shared_ptr<koyeb::SseSink> sink =
        std::make_shared<koyeb::SseSink>(writer, loop, koyeb::SseSink::Options{});
};

// What /run_streaming does with each block that it reads from a command.
Case events(std::string name, std::string block) {
    const std::size_t size = block.size();
    return {"sse/" + std::move(name), size, [block = std::move(block)] {
                auto stream = std::make_shared<Stream>();
                return [block, stream] {
                    spawn_task(stream->loop, "bench", stream->sink->on_output(StreamId::stdout_, block));
                    stream->loop.restart();
                    stream->loop.run();
                };
            }};
}

Case head() {
    const std::string text =
        "POST /run HTTP/1.1\r\nHost: 127.0.0.1:3030\r\nUser-Agent: "
        "python-requests/2.31.0\r\nAccept-Encoding: gzip, deflate\r\n"
        "Accept: */*\r\nConnection: keep-alive\r\nAuthorization: Bearer 0123456789abcdef0123456789abcdef\r\n"
        "Content-Length: 14\r\nContent-Type: application/json\r\n\r\n";
    return {"http/head", text.size(), [text] {
                return [text] {
                    if (net::find_head_end(text, 0) != text.size() || !net::parse_head(text)) std::abort();
                };
            }};
}

Case chunked() {
    std::string text;
    for (int i = 0; i < 16; ++i) text += "1000\r\n" + std::string(4096, 'a') + "\r\n";
    text += "0\r\n\r\n";
    return {"http/chunked", text.size(), [text] {
                return [text, out = std::string()]() mutable {
                    out.clear();
                    net::ChunkedBody body;
                    std::string_view rest = text;
                    while (!body.done()) {
                        Result<std::size_t> taken = body.feed(rest, out);
                        if (!taken) std::abort();
                        rest.remove_prefix(*taken);
                    }
                };
            }};
}

Case multipart() {
    const std::string text =
        "--mark\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n" + noise(kBlock) +
        "\r\n--mark--\r\n";
    return {"multipart/file", text.size(), [text] {
                return [text] {
                    using Event = e2b::MultipartReader::Event;
                    e2b::MultipartReader reader("mark");
                    reader.feed(text);
                    for (;;) {
                        Result<Event> event = reader.next();
                        if (!event || *event == Event::need_more) std::abort();
                        if (*event == Event::end) break;
                    }
                };
            }};
}

}  // namespace

std::vector<Case> net_cases() {
    return {events("lines", lines_of(99, kBlock)), events("one_line", std::string(kBlock, 'a')), head(),
            chunked(), multipart()};
}

}  // namespace sandbox::bench
