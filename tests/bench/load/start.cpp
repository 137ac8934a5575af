// bench_start PORT COUNT PROGRAM [ARGUMENT...]
// The time from the start of PROGRAM, which is to listen on PORT, to the first 200 on /health; COUNT times.

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "answer.hpp"

extern char** environ;

int main(int argc, char** argv) {
    using namespace bench;
    if (argc < 4) fail("usage: bench_start PORT COUNT PROGRAM [ARGUMENT...]");
    prctl(PR_SET_TIMERSLACK, 1);
    const long port = number(argv[1]);
    posix_spawn_file_actions_t quiet;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", O_WRONLY, 0);
    std::vector<float> latencies;
    const Clock::time_point all = Clock::now();
    for (long i = number(argv[2]); i > 0; --i) {
        const Clock::time_point begin = Clock::now();
        pid_t pid = 0;
        if (posix_spawn(&pid, argv[3], &quiet, nullptr, argv + 3, environ) != 0)
            fail(std::string("cannot start ") + argv[3]);
        int fd = -1;
        while ((fd = try_connect(port)) < 0) {
            if (errno != ECONNREFUSED) fail_errno("connect");
            if (seconds_since(begin) > 10) fail("it does not listen");
            usleep(10);  // It needs the processor more than we do.
        }
        send_all(fd, "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        Answer answer;
        char buffer[4096];
        for (;;) {
            const ssize_t size = recv(fd, buffer, sizeof buffer, 0);
            if (size <= 0) fail("no answer");
            if (answer.feed(std::string_view(buffer, static_cast<std::size_t>(size)))) break;
        }
        latencies.push_back(std::chrono::duration<float>(Clock::now() - begin).count());
        if (answer.status() != 200) fail("status " + std::to_string(answer.status()));
        const linger reset{1, 0};  // So that the port is free for the next one.
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
        kill(pid, SIGTERM);
        int status = 0;
        waitpid(pid, &status, 0);
    }
    print_latencies(std::move(latencies), seconds_since(all));
}
