#include "platform/wait_readable.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "platform/pipe.hpp"
#include "support/loop_fixture.hpp"

namespace sandbox {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class ReadinessTest : public test::LoopTest {};

TEST_F(ReadinessTest, BytesAndAnEnd) {
    auto [read_end, write_end] = std::move(*make_pipe());
    int fd = read_end.get();
    EXPECT_FALSE(run(wait_readable(loop_, fd, Clock::now() + 20ms)));
    EXPECT_EQ(::write(write_end.get(), "x", 1), 1);
    EXPECT_TRUE(run(wait_readable(loop_, fd, Clock::now() + kPatience)));
    char byte = 0;
    EXPECT_EQ(::read(fd, &byte, 1), 1);
    write_end.reset();
    EXPECT_TRUE(run(wait_readable(loop_, fd, Clock::now() + kPatience)));
    EXPECT_EQ(::read(fd, &byte, 1), 0) << "the descriptor is still its owner's";
}

TEST_F(ReadinessTest, WhatNeverWaitsIsReadable) {
    for (const char* path : {"/dev/zero", "/proc/self/exe"}) {
        UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
        EXPECT_TRUE(run(wait_readable(loop_, fd.get(), Clock::now()))) << path;
    }
}

TEST_F(ReadinessTest, ATimeThatHasPassed) {
    auto [read_end, write_end] = std::move(*make_pipe());
    EXPECT_FALSE(run(wait_readable(loop_, read_end.get(), Clock::now() - 1s)));
}

}  // namespace
}  // namespace sandbox
