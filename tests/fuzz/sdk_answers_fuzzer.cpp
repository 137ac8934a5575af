// What the client library makes of answers and URLs: each decoder throws the documented errors and nothing
// else, and numbers are those of the text.

#include <nlohmann/json.hpp>
#include <string>

#include "base/utf8.hpp"
#include "codec.hpp"
#include "fuzz/fuzz_input.hpp"
#include "koyeb/sandbox/errors.hpp"
#include "text.hpp"
#include "url.hpp"

using namespace koyeb::sandbox;
namespace fuzz = ::sandbox::fuzz;

namespace {

template <class Decode>
void decode(Decode decoder) {
    try {
        static_cast<void>(decoder());
    } catch (const SandboxError&) {
    }
}

void decode_all(std::string_view body) {
    decode([&] { return codec::decode_health(body); });
    decode([&] { return codec::decode_run(body, true); });
    decode([&] { return codec::decode_read_file(body, Encoding::base64); });
    decode([&] { return codec::decode_read_file(body, Encoding::utf8); });
    decode([&] { return codec::decode_list_dir(body); });
    decode([&] { return codec::decode_stat(body); });
    decode([&] { return codec::check_file_answer(body), 0; });
    decode([&] { return codec::check_success(body), 0; });
    decode([&] { return codec::decode_bind_port(body, 1); });
    decode([&] { return codec::decode_start_process(body); });
    decode([&] { return codec::decode_processes(body); });
    decode([&] { return codec::decode_process(body); });
    FUZZ_CHECK(codec::error_text(body).size() <= std::max<std::size_t>(body.size() * 3, 1000));
}

// An exit code is told as it was sent, or not at all.
void check_code(std::string_view body) {
    try {
        const RunResponse response = codec::decode_run(body, false);
        const auto code = nlohmann::json::parse(body)["code"];
        if (code.is_number_integer()) FUZZ_CHECK(code == response.end.exit_code);
    } catch (const SandboxError&) {
    }
}

void check_url(std::string_view text) {
    try {
        const Url url = parse_url(text);
        FUZZ_CHECK(!url.host.empty() && !url.port.empty() && !url.prefix.ends_with('/'));
        const Url again = parse_url(url.origin() + url.prefix);
        FUZZ_CHECK(again.tls == url.tls && again.host == url.host && again.port == url.port);
        FUZZ_CHECK(again.prefix == url.prefix);
    } catch (const SandboxError&) {
    }
}

bool is_utf8_for_the_server(std::string_view text) {
    const char* const end = text.data() + text.size();
    for (const char* p = text.data(); p != end;) {
        const auto step = ::sandbox::utf8_step(p, end);
        if (step.kind != ::sandbox::Utf8Step::Kind::ok) return false;
        p += step.length;
    }
    return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::Input input(data, size);
    decode_all(input.text);
    check_code(input.text);
    check_url(input.text);
    FUZZ_CHECK(base64_decode(base64_encode(input.text)) == std::string(input.text));
    if (const auto bytes = base64_decode(input.text)) {
        FUZZ_CHECK(base64_decode(base64_encode(*bytes)) == *bytes);
    }
    FUZZ_CHECK(is_utf8(input.text) == is_utf8_for_the_server(input.text));
    return 0;
}
