#include "base/exit_status.hpp"

#include <gtest/gtest.h>

#include <csignal>

namespace sandbox {
namespace {

// Wait statuses as the kernel makes them (wait(2)): the code in bits 8 to 15, else the signal in bits 0 to 6.
TEST(ExitStatus, CodesAndSignals) {
    for (int code = 0; code < 256; ++code) {
        ExitStatus status(code << 8);
        ASSERT_TRUE(status.exited());
        ASSERT_FALSE(status.signaled());
        ASSERT_EQ(status.code(), code);
        ASSERT_EQ(status.signal(), 0);
        ASSERT_FALSE(status.core_dumped());
    }
    for (int signal = 1; signal < 65; ++signal) {
        ExitStatus status(signal);
        ASSERT_FALSE(status.exited());
        ASSERT_TRUE(status.signaled());
        ASSERT_EQ(status.code(), 128 + signal);
        ASSERT_EQ(status.signal(), signal);
        ASSERT_FALSE(status.core_dumped());
        ASSERT_TRUE(ExitStatus(signal | 0x80).core_dumped());
        ASSERT_EQ(ExitStatus(signal | 0x80).signal(), signal);
    }
}

TEST(ExitStatus, NamesOfSignals) {
    EXPECT_EQ(signal_name(SIGKILL), "SIGKILL");
    EXPECT_EQ(signal_name(SIGTERM), "SIGTERM");
    EXPECT_EQ(signal_name(SIGRTMIN), "SIGRTMIN");
    EXPECT_EQ(signal_name(SIGRTMIN + 3), "SIGRTMIN+3");
    EXPECT_EQ(signal_name(32), "SIG32") << "kept by the C library for itself";
    EXPECT_EQ(signal_name(99), "SIG99");
    EXPECT_EQ(signal_name(0), "SIG0");
}

TEST(ExitStatus, NumbersOfSignals) {
    for (const char* text : {"SIGTERM", "TERM", "term", "sigterm", "SigTerm", "15"})
        EXPECT_EQ(signal_number(text), SIGTERM) << text;
    EXPECT_EQ(signal_number("SIGRTMIN+3"), SIGRTMIN + 3);
    EXPECT_EQ(signal_number("rtmin"), SIGRTMIN);
    for (int signal = 1; signal <= SIGRTMAX; ++signal) {
        if (signal > SIGSYS && signal < SIGRTMIN) continue;
        EXPECT_EQ(signal_number(signal_name(signal)), signal);
        EXPECT_EQ(signal_number(std::to_string(signal)), signal);
    }
    for (const char* text :
         {"", "SIG", "0", "-9", "65", "999999999999", "TERMINATE", "9x", " 9", "SIGTERM "}) {
        EXPECT_EQ(signal_number(text), 0) << text;
    }
}

}  // namespace
}  // namespace sandbox
