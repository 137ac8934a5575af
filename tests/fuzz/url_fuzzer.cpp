// Request targets: decoding, queries and path cleaning.

#include "base/url.hpp"

#include <string>

#include "fuzz/fuzz_input.hpp"

using namespace sandbox;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::Input input(data, size);
    const auto decoded = percent_decode(input.text);
    FUZZ_CHECK(!decoded || decoded->size() <= input.text.size());

    const Query query(input.text);
    for (const auto& [name, value] : query.pairs()) FUZZ_CHECK(query.get(name).has_value());

    const std::string clean = clean_path(input.text);
    FUZZ_CHECK(clean_path(clean) == clean);
    FUZZ_CHECK(clean.find("//") == std::string::npos && clean.find("/./") == std::string::npos);
    FUZZ_CHECK(clean == "/" || !clean.ends_with('/'));
    const std::string url = clean_url_path(input.text);
    FUZZ_CHECK(url.starts_with('/') && clean_url_path(url) == url);
    FUZZ_CHECK((url + '/').find("/../") == std::string::npos);
    return 0;
}
