#include "platform/pipe.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <array>
#include <string>

#include "support/loop_fixture.hpp"

namespace sandbox {
namespace {

class PipeTest : public test::LoopTest {
  protected:
    PipeTest() {
        auto pipe = make_pipe();
        EXPECT_TRUE(pipe);
        read_fd_ = std::move(pipe->first);
        write_fd_ = std::move(pipe->second);
    }
    void TearDown() override {
        read_fd_.reset();
        write_fd_.reset();
        LoopTest::TearDown();
    }
    UniqueFd read_fd_;
    UniqueFd write_fd_;
};

std::string bytes_of(std::size_t size) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
    return bytes;
}

Task<> read_all(ReadEnd& end, std::string& out, bool& at_end) {
    std::array<char, 10'000> buffer{};
    for (;;) {
        long count = end.read_now(buffer);
        if (count == -EAGAIN) {
            if (!co_await end.readable()) co_return;
            continue;
        }
        EXPECT_GE(count, 0);
        if (count <= 0) break;
        out.append(buffer.data(), static_cast<std::size_t>(count));
    }
    at_end = true;
}

Task<> write_text(WriteEnd& end, std::string text, std::optional<Result<>>& result) {
    result.emplace(co_await end.write_all(text));
}

TEST_F(PipeTest, EndsAreCloseOnExec) {
    EXPECT_EQ(::fcntl(read_fd_.get(), F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(::fcntl(write_fd_.get(), F_GETFD), FD_CLOEXEC);
}

TEST_F(PipeTest, ReadNowNeverBlocks) {
    ReadEnd end(loop_, std::move(read_fd_));
    std::array<char, 4> buffer{};
    EXPECT_EQ(end.read_now(buffer), -EAGAIN);
    EXPECT_EQ(end.pending(), 0U);
    ASSERT_EQ(::write(write_fd_.get(), "abcdef", 6), 6);
    EXPECT_EQ(end.pending(), 6U);
    EXPECT_EQ(end.read_now(buffer), 4);
    EXPECT_EQ(end.read_now(buffer), 2);
    EXPECT_EQ(end.read_now(buffer), -EAGAIN);
    write_fd_.reset();
    EXPECT_EQ(end.read_now(buffer), 0);
}

TEST_F(PipeTest, APipeCanBeMadeToHoldMore) {
    ReadEnd end(loop_, std::move(read_fd_));
    ASSERT_TRUE(end.enlarge(256 * 1024));
    const std::string text = bytes_of(256 * 1024);
    ASSERT_EQ(::fcntl(write_fd_.get(), F_SETFL, O_NONBLOCK), 0);
    EXPECT_EQ(::write(write_fd_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    EXPECT_EQ(end.pending(), text.size());
    end.close();
    EXPECT_FALSE(end.enlarge(256 * 1024));
}

TEST_F(PipeTest, WhatEpollRefusesIsReadAndWrittenAllTheSame) {
    ReadEnd end(loop_, UniqueFd(::open("/dev/zero", O_RDONLY | O_CLOEXEC)));
    std::array<char, 4> buffer{};
    EXPECT_EQ(end.read_now(buffer), 4);
    EXPECT_TRUE(run(end.readable())) << "there may be something";
    EXPECT_EQ(end.read_now(buffer), 4);
    end.close();
    EXPECT_FALSE(run(end.readable()));
    EXPECT_EQ(end.read_now(buffer), 0);
}

TEST_F(PipeTest, WritersWaitForReadersAndNothingIsLost) {
    ReadEnd reader(loop_, std::move(read_fd_));
    auto writer = std::make_unique<WriteEnd>(loop_, std::move(write_fd_));
    const std::string text = bytes_of(3'000'000);
    std::optional<Result<>> written;
    spawn_task(loop_, "writer", write_text(*writer, text, written));
    drive_for(std::chrono::milliseconds(30));
    EXPECT_FALSE(written) << "nobody has read yet";
    std::string got;
    bool at_end = false;
    spawn_task(loop_, "reader", read_all(reader, got, at_end));
    drive_until([&] { return written.has_value(); });
    EXPECT_TRUE(*written);
    EXPECT_FALSE(at_end);
    writer->close();
    EXPECT_FALSE(writer->is_open());
    drive_until([&] { return at_end; });
    EXPECT_TRUE(got == text);
}

TEST_F(PipeTest, AWriterLearnsThatNobodyReads) {
    WriteEnd writer(loop_, std::move(write_fd_));
    std::optional<Result<>> waiting;
    spawn_task(loop_, "writer", write_text(writer, bytes_of(200'000), waiting));
    drive_for(std::chrono::milliseconds(10));
    EXPECT_FALSE(waiting);
    read_fd_.reset();
    drive_until([&] { return waiting.has_value(); });
    EXPECT_EQ(waiting->error().sys_errno, EPIPE);
    std::optional<Result<>> later;
    run(write_text(writer, "x", later));
    EXPECT_EQ(later->error().sys_errno, EPIPE);
}

TEST_F(PipeTest, ClosingWakesThoseThatWait) {
    WriteEnd writer(loop_, std::move(write_fd_));
    ReadEnd reader(loop_, std::move(read_fd_));
    std::optional<Result<>> written;
    spawn_task(loop_, "writer", write_text(writer, bytes_of(200'000), written));
    drive_for(std::chrono::milliseconds(10));
    writer.close();
    drive_until([&] { return written.has_value(); });
    EXPECT_EQ(written->error().sys_errno, EPIPE);

    auto pipe = make_pipe();
    ASSERT_TRUE(pipe);
    ReadEnd silent(loop_, std::move(pipe->first));
    std::optional<bool> readable;
    spawn_task(loop_, "reader", test::keep_result(silent.readable(), &readable));
    drive_for(std::chrono::milliseconds(10));
    EXPECT_FALSE(readable);
    silent.close();
    drive_until([&] { return readable.has_value(); });
    EXPECT_FALSE(*readable);
    EXPECT_EQ(silent.fd(), -1);
    std::array<char, 4> buffer{};
    EXPECT_EQ(silent.read_now(buffer), 0);
    EXPECT_FALSE(run(silent.readable()));
}

TEST_F(PipeTest, AnEndMayDieWhileItIsWaitedFor) {
    auto reader = std::make_unique<ReadEnd>(loop_, std::move(read_fd_));
    std::optional<bool> readable;
    spawn_task(loop_, "reader", test::keep_result(reader->readable(), &readable));
    drive_for(std::chrono::milliseconds(10));
    reader.reset();
    drive_until([&] { return readable.has_value(); });
    EXPECT_FALSE(*readable);
}

TEST_F(PipeTest, ATerminalWhoseOtherSideIsGoneIsAtItsEnd) {
    UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_TRUE(master);
    ASSERT_EQ(::unlockpt(master.get()), 0);
    char name[64];
    ASSERT_EQ(::ptsname_r(master.get(), name, sizeof name), 0);
    UniqueFd slave(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
    ReadEnd reader(loop_, std::move(master));
    ASSERT_EQ(::write(slave.get(), "last\n", 5), 5);
    std::string got;
    bool at_end = false;
    spawn_task(loop_, "reader", read_all(reader, got, at_end));
    drive_until([&] { return got == "last\r\n"; });
    EXPECT_FALSE(at_end);
    slave.reset();
    drive_until([&] { return at_end; });
}

}  // namespace
}  // namespace sandbox
