#include "base/json_escape.hpp"

#include <array>
#include <cstddef>
#include <cstring>

#include "base/byte_scan.hpp"
#include "base/utf8.hpp"

namespace sandbox {
namespace {

constexpr std::string_view kBadByte = "\\ufffd";
constexpr std::size_t kLongRun = 16 * 1024;  // is copied while it is still in the nearest cache
constexpr std::string_view kHex = "0123456789abcdef";

// Bytes that may not simply be copied: controls, the escaped five, everything outside ASCII.
constexpr std::array<bool, 256> kSpecial = [] {
    std::array<bool, 256> table{};
    for (std::size_t c = 0; c < 256; ++c) {
        table[c] = c < 0x20 || c >= 0x80 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&';
    }
    return table;
}();

struct EscapeRule {
    static bool special(char c) { return kSpecial[static_cast<unsigned char>(c)]; }
#if defined(__SSE2__)
    static __m128i special(__m128i x) {
        // Signed: bytes from 0x80 on are negative and so below 0x20 as well.
        const __m128i control = _mm_cmplt_epi8(x, _mm_set1_epi8(0x20));
        // '"' and '&' differ in one bit, as do '<' and '>'.
        const __m128i quote_amp = _mm_cmpeq_epi8(_mm_and_si128(x, _mm_set1_epi8(~0x04)), _mm_set1_epi8('"'));
        const __m128i less_more = _mm_cmpeq_epi8(_mm_and_si128(x, _mm_set1_epi8(~0x02)), _mm_set1_epi8('<'));
        const __m128i backslash = _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'));
        return _mm_or_si128(_mm_or_si128(control, quote_amp), _mm_or_si128(less_more, backslash));
    }
#endif
};

// Gathers short pieces on the stack, so that text dense with escapes costs one string append per block.
class Staging {
  public:
    explicit Staging(std::string& out) : out_(out) {}
    Staging(const Staging&) = delete;
    Staging& operator=(const Staging&) = delete;
    ~Staging() = default;

    void put(std::string_view piece) {
        if (piece.size() > sizeof block_ - used_) {
            flush();
            if (piece.size() > sizeof block_) {
                out_.append(piece);
                return;
            }
        }
        std::memcpy(block_ + used_, piece.data(), piece.size());
        used_ += piece.size();
    }

    // Pieces of a size known at compile time, without the call of memcpy.
    template <std::size_t N>
    void put_fixed(const char (&piece)[N]) {
        if (N > sizeof block_ - used_) flush();
        std::memcpy(block_ + used_, piece, N);
        used_ += N;
    }

    void put_short(char letter) { put_fixed({'\\', letter}); }

    void put_unit(unsigned utf16_unit) {
        put_fixed({'\\', 'u', kHex[utf16_unit >> 12 & 0xF], kHex[utf16_unit >> 8 & 0xF],
                   kHex[utf16_unit >> 4 & 0xF], kHex[utf16_unit & 0xF]});
    }

    void flush() {
        out_.append(block_, used_);
        used_ = 0;
    }

  private:
    std::string& out_;
    std::size_t used_ = 0;
    char block_[1024];  // left uninitialised on purpose: the hot path never touches it
};

bool escaped_in_utf8(char32_t code) { return code == 0x85 || code == 0x2028 || code == 0x2029; }

void put_ascii(Staging& staging, char c) {
    switch (c) {
        case '"':
            staging.put_short('"');
            break;
        case '\\':
            staging.put_short('\\');
            break;
        case '\b':
            staging.put_short('b');
            break;
        case '\f':
            staging.put_short('f');
            break;
        case '\n':
            staging.put_short('n');
            break;
        case '\r':
            staging.put_short('r');
            break;
        case '\t':
            staging.put_short('t');
            break;
        default:
            if (EscapeRule::special(c)) {
                staging.put_unit(static_cast<unsigned char>(c));
            } else {
                staging.put({&c, 1});
            }
    }
}

void put_escaped(Staging& staging, char32_t code) {
    if (code < 0x10000) {
        staging.put_unit(static_cast<unsigned>(code));
    } else {
        const unsigned bits = static_cast<unsigned>(code) - 0x10000;
        staging.put_unit(0xD800 | bits >> 10);
        staging.put_unit(0xDC00 | (bits & 0x3FF));
    }
}

}  // namespace

void JsonEscaper::append(std::string& out, std::string_view bytes) {
    const char* p = bytes.data();
    const char* const end = p + bytes.size();
    Staging staging(out);

    // A character begun in an earlier piece goes on, one byte at a time.
    while (kept_size_ != 0 && p != end) {
        kept_[kept_size_++] = *p++;
        while (kept_size_ != 0) {
            const Utf8Step step = utf8_step(kept_, kept_ + kept_size_);
            if (step.kind == Utf8Step::Kind::need_more) break;
            if (step.kind == Utf8Step::Kind::bad) {
                staging.put_unit(0xFFFD);
            } else if (step.code < 0x80) {
                put_ascii(staging, kept_[0]);
            } else if (charset_ == JsonCharset::ascii || escaped_in_utf8(step.code)) {
                put_escaped(staging, step.code);
            } else {
                staging.put({kept_, step.length});
            }
            kept_size_ = static_cast<std::uint8_t>(kept_size_ - step.length);
            std::memmove(kept_, kept_ + step.length, kept_size_);
        }
    }

    const char* run = p;  // [run, p) goes out as it is
    const auto put_run = [&] {
        if (p != run) staging.put({run, static_cast<std::size_t>(p - run)});
    };
    const auto find_special = [&] {
        for (;;) {
            const char* const stop = static_cast<std::size_t>(end - p) > kLongRun ? p + kLongRun : end;
            p = skip_plain<EscapeRule>(p, stop);
            if (p != stop || p == end) return p != end;
            put_run();
            run = p;
        }
    };
    out.reserve(out.size() + bytes.size());
    while (find_special()) {
        if (static_cast<unsigned char>(*p) < 0x80) {
            put_run();
            put_ascii(staging, *p++);
            run = p;
            continue;
        }
        const Utf8Step step = utf8_step(p, end);
        if (step.kind == Utf8Step::Kind::need_more) {
            put_run();
            kept_size_ = static_cast<std::uint8_t>(end - p);
            std::memcpy(kept_, p, kept_size_);
            run = p = end;
            break;
        }
        const bool bad = step.kind == Utf8Step::Kind::bad;
        if (!bad && charset_ == JsonCharset::utf8 && !escaped_in_utf8(step.code)) {
            p += step.length;
            continue;
        }
        put_run();
        if (bad) {
            staging.put_unit(0xFFFD);
        } else {
            put_escaped(staging, step.code);
        }
        run = p += step.length;
    }
    staging.flush();
    out.append(run, static_cast<std::size_t>(p - run));
}

void JsonEscaper::finish(std::string& out) {
    for (; kept_size_ != 0; --kept_size_) out.append(kBadByte);
}

void append_json_string(std::string& out, std::string_view bytes, JsonCharset charset) {
    JsonEscaper escaper(charset);
    out.push_back('"');
    escaper.append(out, bytes);
    escaper.finish(out);
    out.push_back('"');
}

}  // namespace sandbox
