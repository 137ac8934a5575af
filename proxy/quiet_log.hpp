#pragma once

#include <chrono>
#include <string_view>

#include "base/log.hpp"

namespace sandbox::proxy {

// At most one line a second; how many were left out is told before the next one.
class QuietLog {
  public:
    void warn(std::string_view message, log::Fields fields = {}) {
        auto now = std::chrono::steady_clock::now();
        if (now < next_) {
            ++left_out_;
            return;
        }
        next_ = now + std::chrono::seconds(1);
        if (left_out_ != 0) {
            log::warn("more of these were not logged", {{"of", message}, {"count", left_out_}});
            left_out_ = 0;
        }
        log::warn(message, fields);
    }

  private:
    std::chrono::steady_clock::time_point next_{};
    unsigned left_out_ = 0;
};

}  // namespace sandbox::proxy
