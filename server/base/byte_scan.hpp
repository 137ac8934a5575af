#pragma once
// The search both JSON codecs live on: over a run of bytes that need no attention, 16 at a time where SSE2 is
// there.

#include <bit>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sandbox {

// The first byte of [p, end) that is special, or end. A Rule has
//     static bool special(char c);
//     static __m128i special(__m128i bytes);  // under __SSE2__: 0xFF where the byte is special, 0 elsewhere
template <class Rule>
const char* skip_plain(const char* p, const char* end) {
    if (p == end || Rule::special(*p)) return p;
#if defined(__SSE2__)
    const auto mask_at = [](const char* at) {
        __m128i bytes;
        std::memcpy(&bytes, at, sizeof bytes);
        return static_cast<unsigned>(_mm_movemask_epi8(Rule::special(bytes)));
    };
    if (end - p >= 16) {
        for (; end - p >= 16; p += 16) {
            const unsigned mask = mask_at(p);
            if (mask != 0) return p + std::countr_zero(mask);
        }
        // The rest in one step that overlaps bytes known to be plain.
        const unsigned mask = mask_at(end - 16);
        return mask != 0 ? end - 16 + std::countr_zero(mask) : end;
    }
#endif
    while (p != end && !Rule::special(*p)) ++p;
    return p;
}

}  // namespace sandbox
