#pragma once
// Children for tests that look at spawn() itself, waited for without a Reaper.

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/exit_status.hpp"
#include "platform/pipe.hpp"
#include "platform/spawn.hpp"

namespace sandbox::test {

// `sh -c script` with a small environment; what is not set here is up to the test.
inline SpawnSpec shell(std::string script) {
    SpawnSpec spec;
    spec.program = "/bin/sh";
    spec.argv = {"sh", "-c", std::move(script)};
    spec.env = {"PATH=/usr/local/bin:/usr/bin:/bin"};
    return spec;
}

inline ExitStatus wait_for(pid_t pid) {
    int status = 0;
    pid_t waited = 0;
    do waited = ::waitpid(pid, &status, 0);
    while (waited < 0 && errno == EINTR);
    EXPECT_EQ(waited, pid);
    return ExitStatus(status);
}

// Until it has ended; its status is left to who reaps it. False: it is no child of ours, or reaped already.
inline bool await_end(pid_t pid) {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) == 0;
}

inline std::string read_to_end(int fd) {
    std::string out;
    char buffer[4096];
    for (;;) {
        ssize_t count = ::read(fd, buffer, sizeof buffer);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return out;
        out.append(buffer, static_cast<std::size_t>(count));
    }
}

// Reads up to and with the next newline; what came until then when nothing more comes for 20 s.
inline std::string read_line(int fd) {
    std::string line;
    char c = 0;
    pollfd wait{fd, POLLIN, 0};
    while (::poll(&wait, 1, 20'000) == 1 && ::read(fd, &c, 1) == 1) {
        line += c;
        if (c == '\n') break;
    }
    return line;
}

struct Outcome {
    std::string output;
    ExitStatus status{0};
};

// Runs it to its end with stdout in a pipe.
inline Outcome run_child(SpawnSpec spec) {
    auto pipe = make_pipe();
    if (!pipe) return {};
    spec.stdout_fd = pipe->second.get();
    Result<pid_t> pid = spawn(spec);
    EXPECT_TRUE(pid) << pid.error().message;
    pipe->second.reset();
    if (!pid) return {};
    Outcome outcome;
    outcome.output = read_to_end(pipe->first.get());
    outcome.status = wait_for(*pid);
    return outcome;
}

// A child that runs beside the test: what it prints can be read, and lines can be sent to it.
class Child {
  public:
    explicit Child(SpawnSpec spec) {
        auto out = make_pipe();
        auto in = make_pipe();
        EXPECT_TRUE(out && in);
        spec.stdin_fd = in->first.get();
        spec.stdout_fd = out->second.get();
        Result<pid_t> started = spawn(spec);
        EXPECT_TRUE(started) << started.error().message;
        pid_ = started ? *started : -1;
        out_ = std::move(out->first);
        in_ = std::move(in->second);
    }

    pid_t pid() const { return pid_; }
    std::string line() const { return read_line(out_.get()); }
    std::string rest() const { return read_to_end(out_.get()); }
    void close_stdin() { in_.reset(); }

  private:
    pid_t pid_ = -1;
    UniqueFd out_;
    UniqueFd in_;
};

}  // namespace sandbox::test
