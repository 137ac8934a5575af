#include "base/base64.hpp"
#include "base/json_escape.hpp"
#include "base/json_fields.hpp"
#include "base/json_scan.hpp"
#include "base/line_splitter.hpp"
#include "base/rfc3339.hpp"
#include "cases.hpp"

namespace sandbox::bench {
namespace {

Case escape(std::string name, std::string text, JsonCharset charset) {
    const std::size_t size = text.size();
    return {"json_escape/" + std::move(name), size, [text = std::move(text), charset] {
                return [text, charset, out = std::string()]() mutable {
                    out.clear();
                    append_json_string(out, text, charset);
                };
            }};
}

Case split(std::string name, std::string text) {
    const std::size_t size = text.size();
    return {"line_splitter/" + std::move(name), size, [text = std::move(text)] {
                return [text, splitter = LineSplitter(CrRule::all), seen = std::size_t{0}]() mutable {
                    splitter.feed(text, [&seen](const LinePiece& piece) { seen += piece.text.size(); });
                };
            }};
}

// A body whose large member goes to a sink, as that of /write_file does.
Case scan(std::string name, std::string_view content) {
    std::string body = "{\"path\":\"/tmp/a\",\"content\":";
    append_json_string(body, content);
    body += '}';
    const std::size_t size = body.size();
    return {"json_scan/" + std::move(name), size, [body = std::move(body)] {
                return [body] {
                    JsonFields fields;
                    std::size_t seen = 0;
                    fields.divert("content", [&seen](std::string_view part) { seen += part.size(); });
                    JsonObjectScanner scanner(fields);
                    if (!scanner.feed(body) || !scanner.finish()) std::abort();
                };
            }};
}

Case small_body() {
    const std::string body =
        R"({"cmd":"cd /srv/app && npm test -- --watch=false","cwd":"/srv","env":{"NODE_ENV":"test","CI":"1"},"timeout":30})";
    return {
        "json_fields/run", body.size(), [body] {
            return [body] {
                JsonFields fields;
                if (!JsonFields::parse(body, fields) || !fields.string("cmd") || !fields.string_map("env"))
                    std::abort();
            };
        }};
}

Case encode(std::string bytes) {
    return {"base64/encode", bytes.size(), [bytes] {
                return [bytes, out = std::string()]() mutable {
                    out.clear();
                    append_base64(out, bytes);
                };
            }};
}

Case decode(const std::string& bytes) {
    const std::string text = base64_encode(bytes);
    return {"base64/decode", text.size(), [text] {
                return [text, out = std::string()]() mutable {
                    out.clear();
                    Base64Decoder decoder;
                    if (!decoder.append(out, text) || !decoder.finish(out)) std::abort();
                };
            }};
}

Case timestamp() {
    return {"rfc3339/format", 1,
            [] { return [] { static_cast<void>(format_rfc3339(1'795'000'000'123'456'789)); }; }};
}

}  // namespace

std::vector<Case> base_cases() {
    const std::string plain(kBlock, 'a');
    const std::string prose = repeated("The \"quick\" brown fox jumps\tover the lazy dog.\n", kBlock);
    const std::string greek = repeated("Ἐν ἀρχῇ ἦν ὁ Λόγος, and then 123.\n", kBlock);
    return {
        escape("plain", plain, JsonCharset::utf8),
        escape("prose", prose, JsonCharset::utf8),
        escape("utf8", greek, JsonCharset::utf8),
        escape("utf8_to_ascii", greek, JsonCharset::ascii),
        escape("noise", noise(kBlock), JsonCharset::ascii),
        split("lines", lines_of(99, kBlock)),
        split("one_line", plain),
        scan("plain", plain),
        scan("prose", prose),
        scan("utf8", greek),
        small_body(),
        encode(noise(kBlock)),
        decode(noise(kBlock)),
        timestamp(),
    };
}

}  // namespace sandbox::bench
