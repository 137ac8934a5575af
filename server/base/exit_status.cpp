#include "base/exit_status.hpp"

#include <algorithm>
#include <cctype>
#include <csignal>
#include <cstring>
#include <string_view>

#include "base/number.hpp"

namespace sandbox {

std::string signal_name(int signal) {
    if (signal >= SIGRTMIN && signal <= SIGRTMAX) {
        return signal == SIGRTMIN ? "SIGRTMIN" : "SIGRTMIN+" + std::to_string(signal - SIGRTMIN);
    }
    const char* abbreviation = ::sigabbrev_np(signal);
    return abbreviation ? std::string("SIG") + abbreviation : "SIG" + std::to_string(signal);
}

int signal_number(std::string_view text) {
    if (const auto number = parse_number<int>(text)) return *number > 0 && *number < NSIG ? *number : 0;
    std::string upper(text);
    std::transform(upper.begin(), upper.end(), upper.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    if (!upper.starts_with("SIG")) upper.insert(0, "SIG");
    for (int signal = 1; signal < NSIG; ++signal) {
        if (signal_name(signal) == upper) return signal;
    }
    return 0;
}

}  // namespace sandbox
