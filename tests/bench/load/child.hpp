#pragma once
// A shell command by posix_spawn, with two pipes.

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include "tools.hpp"

extern char** environ;

namespace bench {

struct Child {
    pid_t pid = 0;
    int out = -1;  // to be read to the end, and closed
    int err = -1;
};

inline Child start_shell(const char* script) {
    int out[2], err[2];
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) fail_errno("pipe2");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    const char* const args[] = {"sh", "-c", script, nullptr};
    Child child;
    const int error =
        posix_spawn(&child.pid, "/bin/sh", &actions, nullptr, const_cast<char**>(args), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) fail(std::string("posix_spawn: ") + std::strerror(error));
    close(out[1]);
    close(err[1]);
    child.out = out[0];
    child.err = err[0];
    return child;
}

inline void read_to_end(int fd) {
    char buffer[4096];
    while (read(fd, buffer, sizeof buffer) > 0) {
    }
    close(fd);
}

inline void expect_success(const Child& child) {
    int status = 0;
    if (waitpid(child.pid, &status, 0) != child.pid || status != 0) fail("the command has failed");
}

}  // namespace bench
