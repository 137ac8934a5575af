#pragma once
// What text is told as when it is not UTF-8.

#include <string>
#include <string_view>

#include "base/utf8.hpp"

namespace sandbox::fuzz {

// Bad bytes replaced, one by one.
inline std::string repaired(std::string_view bytes) {
    std::string text;
    const char* const end = bytes.data() + bytes.size();
    for (const char* p = bytes.data(); p != end;) {
        const Utf8Step step = utf8_step(p, end);
        if (step.kind == Utf8Step::Kind::ok) {
            text.append(p, step.length);
            p += step.length;
        } else {
            text += "\uFFFD";
            ++p;
        }
    }
    return text;
}

}  // namespace sandbox::fuzz
