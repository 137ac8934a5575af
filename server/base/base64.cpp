#include "base/base64.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

namespace sandbox {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Two characters for every 12 bits: half the look-ups of the plain alphabet, and 8 KiB still sit in the L1
// cache.
constexpr auto kPairs = [] {
    std::array<std::array<char, 2>, 4096> table{};
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = {kAlphabet[i >> 6], kAlphabet[i & 63]};
    return table;
}();

constexpr std::uint32_t kInvalid = std::uint32_t{1} << 31;

// The bits of a character at each of the four places of its group, or kInvalid.
constexpr auto kBits = [] {
    std::array<std::array<std::uint32_t, 256>, 4> table{};
    for (std::size_t place = 0; place < 4; ++place) {
        table[place].fill(kInvalid);
        const auto put = [&](char c, std::size_t bits) {
            table[place][static_cast<unsigned char>(c)] =
                static_cast<std::uint32_t>(bits << (18 - 6 * place));
        };
        for (std::size_t i = 0; i < kAlphabet.size(); ++i) put(kAlphabet[i], i);
        put('-', 62);
        put('_', 63);
    }
    return table;
}();

// Work goes through a block on the stack: growing the string first would write every byte twice.
constexpr std::size_t kBlockGroups = 512;

std::uint32_t byte_at(const char* p, std::size_t i) { return static_cast<unsigned char>(p[i]); }

void encode_group(const char* from, char* to) {
    const std::uint32_t bits = byte_at(from, 0) << 16 | byte_at(from, 1) << 8 | byte_at(from, 2);
    std::memcpy(to, kPairs[bits >> 12].data(), 2);
    std::memcpy(to + 2, kPairs[bits & 0xFFF].data(), 2);
}

void encode_groups(std::string& out, const char* p, std::size_t groups) {
    char block[kBlockGroups * 4];
    while (groups != 0) {
        const std::size_t count = std::min(groups, kBlockGroups);
        for (std::size_t i = 0; i < count; ++i) encode_group(p + i * 3, block + i * 4);
        out.append(block, count * 4);
        p += count * 3;
        groups -= count;
    }
}

std::uint32_t group_bits(const char* p) {
    return kBits[0][byte_at(p, 0)] | kBits[1][byte_at(p, 1)] | kBits[2][byte_at(p, 2)] |
           kBits[3][byte_at(p, 3)];
}

void store_group(std::uint32_t bits, char* to) {
    to[0] = static_cast<char>(bits >> 16);
    to[1] = static_cast<char>(bits >> 8);
    to[2] = static_cast<char>(bits);
}

// The bytes that 2, 3 or 4 valid characters stand for; false when one is not of the alphabet.
bool decode_tail(std::string& out, const char* chars, std::size_t count) {
    char group[4] = {'A', 'A', 'A', 'A'};
    std::memcpy(group, chars, count);
    const std::uint32_t bits = group_bits(group);
    if ((bits & kInvalid) != 0) return false;
    char bytes[3];
    store_group(bits, bytes);
    out.append(bytes, count - 1);
    return true;
}

}  // namespace

void Base64Encoder::append(std::string& out, std::string_view bytes) {
    if (kept_size_ != 0) {
        while (kept_size_ < 3 && !bytes.empty()) {
            kept_[kept_size_++] = bytes.front();
            bytes.remove_prefix(1);
        }
        if (kept_size_ < 3) return;
        encode_groups(out, kept_, 1);
        kept_size_ = 0;
    }
    encode_groups(out, bytes.data(), bytes.size() / 3);
    for (const char c : bytes.substr(bytes.size() / 3 * 3)) kept_[kept_size_++] = c;
}

void Base64Encoder::finish(std::string& out) {
    if (kept_size_ == 0) return;
    for (std::size_t i = kept_size_; i < 3; ++i) kept_[i] = 0;
    char group[4];
    encode_group(kept_, group);
    for (std::size_t i = kept_size_ + std::size_t{1}; i < 4; ++i) group[i] = '=';
    out.append(group, 4);
    kept_size_ = 0;
}

void append_base64(std::string& out, std::string_view bytes) {
    Base64Encoder encoder;
    encoder.append(out, bytes);
    encoder.finish(out);
}

std::string base64_encode(std::string_view bytes) {
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    append_base64(out, bytes);
    return out;
}

bool Base64Decoder::take(std::string& out, char c) {
    if (c == '=') {
        ++padding_;
        invalid_ = kept_size_ < 2 || kept_size_ + padding_ > 4;
        return !invalid_;
    }
    if (padding_ != 0 || kBits[0][static_cast<unsigned char>(c)] == kInvalid) {
        invalid_ = true;
        return false;
    }
    kept_[kept_size_++] = c;
    if (kept_size_ == 4) {
        decode_tail(out, kept_, 4);
        kept_size_ = 0;
    }
    return true;
}

bool Base64Decoder::append(std::string& out, std::string_view text) {
    if (invalid_) return false;
    while (kept_size_ != 0 && !text.empty()) {
        if (!take(out, text.front())) return false;
        text.remove_prefix(1);
    }
    if (padding_ == 0) {
        char block[kBlockGroups * 3];
        while (text.size() >= 4) {
            const std::size_t count = std::min(text.size() / 4, kBlockGroups);
            std::size_t done = 0;
            for (; done < count; ++done) {
                const std::uint32_t bits = group_bits(text.data() + done * 4);
                if ((bits & kInvalid) != 0) break;
                store_group(bits, block + done * 3);
            }
            out.append(block, done * 3);
            text.remove_prefix(done * 4);
            if (done < count) break;
        }
    }
    for (const char c : text) {
        if (!take(out, c)) return false;
    }
    return true;
}

bool Base64Decoder::finish(std::string& out) {
    const bool whole = !invalid_ && kept_size_ != 1 && (padding_ == 0 || kept_size_ + padding_ == 4);
    if (whole && kept_size_ != 0) decode_tail(out, kept_, kept_size_);
    *this = Base64Decoder();
    return whole;
}

Result<std::string> base64_decode(std::string_view text) {
    std::string out;
    out.reserve(text.size() / 4 * 3 + 3);
    Base64Decoder decoder;
    if (!decoder.append(out, text) || !decoder.finish(out)) {
        return Error{Errc::invalid_argument, "invalid base64"};
    }
    return out;
}

}  // namespace sandbox
