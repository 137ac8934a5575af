// The parts without I/O: URLs, events, base64, UTF-8, JSON.

#include <gtest/gtest.h>

#include "codec.hpp"
#include "koyeb/sandbox/errors.hpp"
#include "sse_parser.hpp"
#include "text.hpp"
#include "url.hpp"

namespace koyeb::sandbox {
namespace {

TEST(Url, Parts) {
    Url url = parse_url("https://name.koyeb.app/koyeb-sandbox/");
    EXPECT_TRUE(url.tls);
    EXPECT_EQ(url.host, "name.koyeb.app");
    EXPECT_EQ(url.port, "443");
    EXPECT_EQ(url.prefix, "/koyeb-sandbox");
    EXPECT_EQ(url.host_header(), "name.koyeb.app");
    url = parse_url("HTTP://[::1]:3030");
    EXPECT_FALSE(url.tls);
    EXPECT_EQ(url.host, "::1");
    EXPECT_EQ(url.prefix, "");
    EXPECT_EQ(url.origin(), "http://[::1]:3030");
}

TEST(Url, Refused) {
    for (const char* text : {"", "name.koyeb.app", "ftp://x", "http://", "http://:80", "http://x:0",
                             "http://x:65536", "http://x:1a", "http://u@x", "http://x/?q", "http://x/#f",
                             "http://x y", "http://[::1", "http://[::1]80", "http://x/a\r\nb"})
        EXPECT_THROW(parse_url(text), SandboxError) << text;
}

TEST(Sse, EverySplitGivesTheSameEvents) {
    const std::string bytes =
        "\xEF\xBB\xBF: hello\nevent: output\ndata: {\"a\":1}\n\nid: 7\r\ndata:x\r\ndata:  "
        "y\r\rdata\n\nevent: lost\n\n"
        "id: 8\ndata: z\n\n";
    for (std::size_t split = 0; split <= bytes.size(); ++split) {
        SseParser parser;
        parser.feed(std::string_view(bytes).substr(0, split));
        parser.feed(std::string_view(bytes).substr(split));
        std::vector<SseEvent> events;
        while (auto event = parser.next()) events.push_back(*event);
        ASSERT_EQ(events.size(), 4U) << split;
        EXPECT_EQ(events[0].type, "output");
        EXPECT_EQ(events[0].data, "{\"a\":1}");
        EXPECT_EQ(events[0].id, "");
        EXPECT_EQ(events[1].type, "");
        EXPECT_EQ(events[1].data, "x\n y");
        EXPECT_EQ(events[1].id, "7");
        EXPECT_EQ(events[2].data, "");
        EXPECT_EQ(events[3].id, "8");
    }
}

TEST(Sse, AnUnfinishedEventIsNone) {
    SseParser parser;
    parser.feed("data: x\n");
    EXPECT_FALSE(parser.next());
    EXPECT_TRUE(parser.in_event());
    parser.feed("\n");
    EXPECT_TRUE(parser.next());
}

TEST(Text, Base64) {
    EXPECT_EQ(base64_encode(""), "");
    EXPECT_EQ(base64_encode("f"), "Zg==");
    EXPECT_EQ(base64_encode("fo"), "Zm8=");
    EXPECT_EQ(base64_encode("foobar"), "Zm9vYmFy");
    std::string bytes;
    for (int i = 0; i < 1000; ++i) {
        EXPECT_EQ(base64_decode(base64_encode(bytes)), bytes);
        bytes += static_cast<char>(i * 37);
    }
    for (const char* text : {"Z", "Zg=", "Zg===", "Z===", "=Zg=", "Zm8!", "Zg==Zg=="})
        EXPECT_FALSE(base64_decode(text)) << text;
}

TEST(Text, Utf8) {
    for (const char* good :
         {"", "abc", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xED\x9F\xBF", "\xF4\x8F\xBF\xBF"})
        EXPECT_TRUE(is_utf8(good)) << good;
    for (const char* bad : {"\x80", "\xC3", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                            "\xF8\x88\x80\x80\x80", "\xE2\x82", "a\xFF"})
        EXPECT_FALSE(is_utf8(bad));
}

TEST(Codec, OnlyWhatWasSetIsSent) {
    RunRequest run;
    run.cmd = "echo";
    EXPECT_EQ(codec::encode(run), R"({"cmd":"echo"})");
    run.timeout = Seconds{1.5};
    run.cwd = "/tmp";
    run.env = {{"A", "1"}};
    run.stdin_data = "x\n";
    EXPECT_EQ(
        codec::encode(run),
        R"({"cmd":"echo","cwd":"/tmp","env":{"A":"1"},"stdin":"eAo=","stdin_encoding":"base64","timeout":1.5})");
    WriteFileRequest write;
    write.path = "/a";
    write.content = "h\xC3\xA9";
    EXPECT_EQ(codec::encode(write), "{\"content\":\"h\xC3\xA9\",\"path\":\"/a\"}");
    write.content = "\xFF";
    EXPECT_EQ(codec::encode(write), R"({"content":"/w==","encoding":"base64","path":"/a"})");
}

TEST(Codec, FileErrorsByTheirText) {
    EXPECT_THROW(
        codec::check_file_answer(R"({"error":"open /x: no such file or directory","success":false})"),
        SandboxFileNotFoundError);
    EXPECT_THROW(codec::check_file_answer(R"({"error":"mkdir /x: file exists","success":false})"),
                 SandboxFileExistsError);
    EXPECT_THROW(codec::check_file_answer(R"({"error":"open /x: permission denied","success":false})"),
                 SandboxFilesystemError);
    EXPECT_NO_THROW(codec::check_file_answer(R"({"success":true})"));
    for (const char* garbage : {"", "[]", "null", "{", "<html>", "1"})
        EXPECT_THROW(codec::check_file_answer(garbage), SandboxServiceError) << garbage;
}

SseEvent event_of(std::string data, std::string type = "output", std::string id = "") {
    SseEvent event;
    event.type = std::move(type);
    event.data = std::move(data);
    event.id = std::move(id);
    return event;
}

TEST(Codec, LineEndsComeBack) {
    const auto data = [](const char* json) {
        return std::get<OutputEvent>(codec::decode_command_event(event_of(json))).data;
    };
    EXPECT_EQ(data(R"({"data":"a","stream":"stdout"})"), "a\n");
    EXPECT_EQ(data(R"({"data":"a","stream":"stdout","eol":"\r\n"})"), "a\r\n");
    EXPECT_EQ(data(R"({"data":"a","stream":"stdout","eol":""})"), "a");
    EXPECT_EQ(data(R"({"data":"a","stream":"stdout","partial":true})"), "a");
    EXPECT_EQ(data(R"({"data":"/wA=","stream":"stderr","encoding":"base64"})"), std::string("\xFF\0", 2));
}

TEST(Codec, LogEvents) {
    const auto decode = [](SseEvent event) { return codec::decode_log_event(event); };
    LogEvent log = std::get<LogEvent>(
        decode(event_of(R"({"timestamp":"T","stream":"stderr","data":"x"})", "log", "12")));
    EXPECT_EQ(log.id, 12);
    EXPECT_EQ(log.stream, Stream::err);
    EXPECT_EQ(log.data, "x\n");
    LogEvent gap = std::get<LogEvent>(decode(event_of(R"({"from":1,"lines":3,"bytes":40})", "gap")));
    EXPECT_TRUE(gap.gap);
    EXPECT_EQ(gap.missing_lines, 3U);
    EXPECT_EQ(gap.missing_bytes, 40U);
    EXPECT_THROW(decode(event_of(R"({"error":"process not found: x"})", "error")), SandboxError);
    EXPECT_TRUE(std::holds_alternative<codec::LogComplete>(
        decode(event_of(R"({"message":"stream ended"})", "complete"))));
}

TEST(Codec, ANumberThatDoesNotFitIsNone) {
    EXPECT_EQ(codec::decode_run(R"({"code":7})", false).end.exit_code, 7);
    EXPECT_EQ(codec::decode_run(R"({"code":"7"})", false).end.exit_code, 7);
    EXPECT_EQ(codec::decode_run(R"({"code":7.0})", false).end.exit_code, 7);
    // As an int the first would be 0: success.
    for (const char* code :
         {"4294967296", "-2147483649", "18446744073709551615", "1e300", "\"4294967296\"", "[[]]"}) {
        const std::string body = std::string("{\"code\":") + code + "}";
        EXPECT_THROW(codec::decode_run(body, false), SandboxServiceError) << body;
    }
}

TEST(Errors, AsValuesAndBack) {
    const Error value = Error::from(SandboxServiceError(404, "gone"));
    EXPECT_EQ(value.kind, ErrorKind::service);
    EXPECT_EQ(value.status_code, 404);
    EXPECT_THROW(value.raise(), SandboxServiceError);
    EXPECT_THROW(Error::from(SandboxFileNotFoundError("x")).raise(), SandboxFileNotFoundError);
    const Result<int> result(value);
    EXPECT_FALSE(result);
    EXPECT_THROW(result.value(), SandboxServiceError);
}

}  // namespace
}  // namespace koyeb::sandbox
