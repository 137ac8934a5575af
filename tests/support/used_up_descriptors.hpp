#pragma once
// A process in which no descriptor is to be had any more.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "base/unique_fd.hpp"

namespace sandbox::test {

// While it lives, or until end(), all descriptors are open. `grabbing`: a thread takes each that is freed at
// once, as somebody does who accepts connections.
class UsedUpDescriptors {
  public:
    explicit UsedUpDescriptors(bool grabbing) {
        UniqueFd free(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
        rlimit limit = before_;
        limit.rlim_cur = static_cast<rlim_t>(free.get() + 64);
        EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
        taken_.push_back(std::move(free));
        take_all();
        if (grabbing) {
            thread_ = std::thread([this] {
                while (!over_) take_all();
            });
        }
    }
    ~UsedUpDescriptors() { end(); }
    UsedUpDescriptors(const UsedUpDescriptors&) = delete;
    UsedUpDescriptors& operator=(const UsedUpDescriptors&) = delete;

    void take_all() {
        while (UniqueFd fd{::open("/dev/null", O_RDONLY | O_CLOEXEC)}) taken_.push_back(std::move(fd));
    }
    void free_one() { taken_.pop_back(); }
    void end() {
        over_ = true;
        if (thread_.joinable()) thread_.join();
        if (!taken_.empty()) ::setrlimit(RLIMIT_NOFILE, &before_);
        taken_.clear();
    }

  private:
    rlimit before_{};
    std::vector<UniqueFd> taken_;
    std::atomic<bool> over_{false};
    std::thread thread_;
};

}  // namespace sandbox::test
