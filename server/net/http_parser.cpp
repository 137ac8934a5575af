#include "net/http_parser.hpp"

#include <algorithm>
#include <array>
#include <boost/beast/http/basic_parser.hpp>
#include <cctype>
#include <cstring>
#include <limits>

#include "base/byte_scan.hpp"
#include "base/number.hpp"
#include "base/secret.hpp"

namespace sandbox::net {

// A bad request answered as a value; it never throws.
[[noreturn]] void throw_exception_from_error(const BadRequest& e, const boost::source_location& where) {
    sandbox::throw_exception_from_error(Error{Errc::invalid_argument, e.message, 0}, where);
}

namespace http = boost::beast::http;
namespace {

constexpr std::size_t kHeadLimit = 64 * 1024 * 1024;  // http_session has the configured one

// Copies of a head hold the secret; they go with these.
struct Wiped {
    std::string& text;
    ~Wiped() { wipe(text); }
};

void wipe_secrets(Request& request) {
    for (auto& [name, value] : request.headers) {
        if (name == "authorization") wipe(value);
    }
}

std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
    return out;
}

Method method_of(std::string_view text) {
    if (text == "GET") return Method::get;
    if (text == "POST") return Method::post;
    if (text == "HEAD") return Method::head;
    if (text == "PUT") return Method::put;
    if (text == "DELETE") return Method::delete_;
    if (text == "OPTIONS") return Method::options;
    return Method::other;
}

// A comma-separated list's members, in lower case.
std::vector<std::string> tokens_of(std::string_view list) {
    std::vector<std::string> tokens;
    while (!list.empty()) {
        std::size_t end = std::min(list.find(','), list.size());
        std::string_view token = list.substr(0, end);
        list.remove_prefix(std::min(end + 1, list.size()));
        while (!token.empty() && (token.front() == ' ' || token.front() == '\t')) token.remove_prefix(1);
        while (!token.empty() && (token.back() == ' ' || token.back() == '\t')) token.remove_suffix(1);
        if (!token.empty()) tokens.push_back(lower(token));
    }
    return tokens;
}

struct ControlBytes {
    static bool special(char c) {
        auto u = static_cast<unsigned char>(c);
        return u < 0x20 || u == 0x7f;
    }
#if defined(__SSE2__)
    static __m128i special(__m128i bytes) {
        const __m128i below = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        return _mm_or_si128(below, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f)));
    }
#endif
};

// RFC 9112: no bare CR or LF, no folded header, no control bytes.
bool has_bad_bytes(std::string_view head) {
    const char* const end = head.data() + head.size();
    for (const char* at = head.data(); (at = skip_plain<ControlBytes>(at, end)) != end; ++at) {
        const auto i = static_cast<std::size_t>(at - head.data());
        auto c = static_cast<unsigned char>(head[i]);
        if (c == '\n') {
            if (i == 0 || head[i - 1] != '\r') return true;
            if (i + 1 < head.size() && (head[i + 1] == ' ' || head[i + 1] == '\t')) return true;
        } else if (c == '\r') {
            if (i + 1 >= head.size() || head[i + 1] != '\n') return true;
        } else if (c != '\t') {
            return true;
        }
    }
    return false;
}

constexpr std::array<bool, 256> kHostBytes = [] {
    std::array<bool, 256> allowed{};
    for (std::size_t c = 0x21; c < 0x7f; ++c) allowed[c] = true;
    for (char c : std::string_view("/\\?#@<>^`{|}\"")) allowed[static_cast<unsigned char>(c)] = false;
    return allowed;
}();

bool is_host_value(std::string_view value) {
    return std::all_of(value.begin(), value.end(),
                       [](char c) { return kHostBytes[static_cast<unsigned char>(c)]; });
}

// "HTTP/2.0" and its like are told apart from garbage before Beast sees them.
std::optional<BadRequest> check_request_line(std::string_view head) {
    std::string_view line = head.substr(0, head.find('\r'));
    std::size_t version_at = line.rfind(' ');
    if (version_at == std::string_view::npos) return BadRequest{};
    std::string_view version = line.substr(version_at + 1);
    if (version.size() == 8 && version.starts_with("HTTP/1.") && std::isdigit(version[7]) != 0)
        return std::nullopt;
    bool well_formed = version.size() == 8 && version.starts_with("HTTP/") && std::isdigit(version[5]) != 0 &&
                       version[6] == '.' && std::isdigit(version[7]) != 0;
    if (well_formed && line.substr(0, 4) != "PRI ")
        return BadRequest{505, "HTTP Version Not Supported: unsupported protocol version"};
    return BadRequest{};
}

// Exactly one `chunked`. What is more than that, or an empty member of the list, others may take for
// something else.
bool has_chunked_coding(const Request& request, bool& unsupported) {
    bool chunked = false;
    for (const auto& [name, value] : request.headers) {
        if (name != "transfer-encoding") continue;
        if (chunked || lower(value) != "chunked") unsupported = true;
        chunked = true;
    }
    return chunked && !unsupported;
}

// Hears of all that is parsed, and keeps nothing. Beast's own parser keeps the fields, trailers too, in a
// container that throws for those of 64 KiB.
class QuietParser : public http::basic_parser<true> {
  protected:
    using View = boost::beast::string_view;
    using Ec = boost::system::error_code;

    void on_request_impl(http::verb, View, View, int, Ec&) override {}
    void on_response_impl(int, View, int, Ec&) override {}
    void on_field_impl(http::field, View, View, Ec&) override {}
    void on_header_impl(Ec&) override {}
    void on_body_init_impl(const boost::optional<std::uint64_t>&, Ec&) override {}
    std::size_t on_body_impl(View, Ec&) override { return 0; }
    void on_chunk_header_impl(std::uint64_t, View, Ec&) override {}
    std::size_t on_chunk_body_impl(std::uint64_t, View, Ec&) override { return 0; }
    void on_finish_impl(Ec&) override {}
};

// Puts a head into a RequestHead as it is parsed.
class HeadParser final : public QuietParser {
  public:
    explicit HeadParser(RequestHead& out) : out_(out) {
        header_limit(kHeadLimit);
        body_limit(boost::none);
        skip(true);
    }

  private:
    void on_request_impl(http::verb, View method, View target, int version, Ec&) override {
        out_.request.method_text = std::string_view(method);
        out_.target = std::string_view(target);
        out_.request.version = static_cast<unsigned>(version);
        out_.request.headers.reserve(8);
    }
    void on_field_impl(http::field, View name, View value, Ec&) override {
        out_.request.headers.emplace_back(lower(name), std::string(value));
    }

    RequestHead& out_;
};

std::optional<BadRequest> parse_into(RequestHead& out, std::string_view head) {
    if (has_bad_bytes(head)) return BadRequest{};
    if (auto bad = check_request_line(head)) return bad;
    // RFC 9110 2.5: a higher minor version is served as the highest we know, and Beast knows none above 1.
    std::string as_11;
    const Wiped wiped_head{as_11};
    if (std::size_t minor = head.find('\r') - 1; head[minor] > '1') {
        as_11 = head;
        as_11[minor] = '1';
        head = as_11;
    }

    HeadParser parser(out);
    boost::system::error_code ec;
    parser.put(boost::asio::const_buffer(head.data(), head.size()), ec);
    if (ec && ec != http::error::need_more) return BadRequest{};
    if (!parser.is_header_done()) return BadRequest{};

    Request& request = out.request;
    request.method = method_of(request.method_text);
    unsigned hosts = 0;
    std::string_view host;
    std::optional<std::string> length_text;
    bool close = false;
    bool keep = false;
    for (const auto& [name, value] : request.headers) {
        if (name == "host") {
            ++hosts;
            host = value;
        } else if (name == "content-length") {
            if (length_text && *length_text != value) return BadRequest{};
            length_text = value;
        } else if (name == "connection") {
            for (const std::string& token : tokens_of(value)) {
                close = close || token == "close";
                keep = keep || token == "keep-alive";
            }
        } else if (name == "expect") {
            out.expects_continue = lower(value) == "100-continue" && request.version == 11;
            out.bad_expectation = lower(value) != "100-continue";
        }
    }
    if (hosts == 0 && request.version == 11)
        return BadRequest{400, "Bad Request: missing required Host header"};
    if (hosts > 1) return BadRequest{};
    if (!is_host_value(host)) return BadRequest{400, "Bad Request: malformed Host header"};

    bool unsupported = false;
    request.chunked = has_chunked_coding(request, unsupported);
    if (unsupported) return BadRequest{501, "Unsupported transfer encoding"};
    if (request.chunked && length_text) return BadRequest{};  // RFC 9112 6.1: a smuggling attempt
    if (request.chunked && request.version == 10) return BadRequest{};
    if (length_text) {
        request.content_length = parse_number<std::uint64_t>(*length_text);
        if (!request.content_length) return BadRequest{};
    }
    request.keep_alive = request.version == 11 ? !close : keep && !close;
    return std::nullopt;
}

}  // namespace

std::size_t find_head_end(std::string_view bytes, std::size_t search_from) {
    for (std::size_t at = search_from;;) {
        at = bytes.find('\n', at);
        if (at == std::string_view::npos) return at;
        std::string_view rest = bytes.substr(at + 1);
        if (rest.starts_with("\r\n")) return at + 3;
        if (rest.starts_with("\n")) return at + 2;
        if (at == 0 || bytes[at - 1] != '\r') return at + 1;  // A bare LF: parse_head refuses it.
        ++at;
    }
}

boost::system::result<RequestHead, BadRequest> parse_head(std::string_view head) {
    RequestHead out;
    if (auto bad = parse_into(out, head)) {
        wipe_secrets(out.request);
        return *bad;
    }
    return out;
}

struct ChunkedBody::Impl final : QuietParser {
    explicit Impl(std::size_t limit) : line_limit(limit) {
        body_limit(boost::none);
        static constexpr std::string_view kHead = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        boost::system::error_code ec;
        put(boost::asio::const_buffer(kHead.data(), kHead.size()), ec);
    }

    void on_chunk_header_impl(std::uint64_t size, View extensions, Ec& ec) override {
        if (extensions.size() > line_limit) {
            ec = http::error::bad_chunk_extension;
            return;
        }
        too_large = announced > most || size > most - announced;
        if (too_large) ec = http::error::body_limit;
        if (!too_large) announced += size;
    }
    std::size_t on_chunk_body_impl(std::uint64_t, View body, Ec&) override {
        sink->append(body.data(), body.size());
        return body.size();
    }

    const std::size_t line_limit;
    std::uint64_t announced = 0;  // by the sizes of all chunks so far; never more than `most`
    std::uint64_t most = 0;
    bool too_large = false;
    std::string* sink = nullptr;
};

ChunkedBody::ChunkedBody(std::size_t line_limit) : impl_(std::make_unique<Impl>(line_limit)) {}
ChunkedBody::~ChunkedBody() = default;

Result<std::size_t> ChunkedBody::feed(std::string_view bytes, std::string& out, std::uint64_t limit) {
    constexpr const char* kMalformed = "malformed chunked body";
    constexpr std::string_view kLastChunk = "0\r\n\r\n";
    impl_->sink = &out;
    impl_->most = limit == 0 ? std::numeric_limits<std::uint64_t>::max() : limit;
    std::size_t taken = 0;
    while (taken < bytes.size() && !impl_->is_done()) {
        std::string_view rest = bytes.substr(taken);
        // Beast has seen the line of the last chunk when it comes back to it, and asserts that it, and an
        // empty line, can be there: 5 bytes. After other chunks their CRLF comes first, and it is right.
        if (impl_->announced == 0 && rest.size() < kLastChunk.size() && rest.front() == kLastChunk.front())
            break;
        boost::system::error_code ec;
        std::size_t count = impl_->put(boost::asio::const_buffer(rest.data(), rest.size()), ec);
        taken += count;
        if (impl_->too_large) return Error{Errc::too_large, "request body too large", 0};
        if (ec && ec != http::error::need_more) return Error{Errc::invalid_argument, kMalformed, 0};
        // One step of the parser: the last chunk's line and the trailers.
        if (impl_->is_done() && (count > impl_->line_limit || has_bad_bytes(rest.substr(0, count))))
            return Error{Errc::invalid_argument, kMalformed, 0};
        if (ec == http::error::need_more || count == 0) break;
    }
    // What is left is a line or trailers that go on.
    if (bytes.size() - taken > impl_->line_limit && !impl_->is_done())
        return Error{Errc::invalid_argument, kMalformed, 0};
    return taken;
}

bool ChunkedBody::done() const { return impl_->is_done(); }

}  // namespace sandbox::net
