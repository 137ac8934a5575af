#pragma once
// What the fuzz targets share.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

// Unlike assert() on in every build.
#define FUZZ_CHECK(condition)                                                            \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            std::fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                                \
        }                                                                                \
    } while (false)

namespace sandbox::fuzz {

// The first byte of the input is kept for choices (cuts, options), the rest is the text.
struct Input {
    Input(const std::uint8_t* data, std::size_t size)
        : choice(size == 0 ? 0u : data[0]),
          text(size == 0 ? std::string_view()
                         : std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1)) {}

    unsigned choice;
    std::string_view text;
};

// The bytes of an input, one after the other; zeros behind its end.
class Bytes {
  public:
    explicit Bytes(std::string_view text) : text_(text) {}
    bool empty() const { return text_.empty(); }
    unsigned next() {
        if (text_.empty()) return 0;
        const auto byte = static_cast<unsigned char>(text_.front());
        text_.remove_prefix(1);
        return byte;
    }

  private:
    std::string_view text_;
};

// `text` cut into pieces of 0 to 15 bytes, or whole for choice 0; the same for the same choice.
inline std::vector<std::string_view> cut(std::string_view text, unsigned choice) {
    if (choice == 0) return {text};
    std::vector<std::string_view> pieces;
    std::uint32_t state = choice;
    while (!text.empty()) {
        state = state * 1'664'525 + 1'013'904'223;
        pieces.push_back(text.substr(0, state >> 28));
        text.remove_prefix(pieces.back().size());
    }
    return pieces;
}

}  // namespace sandbox::fuzz
