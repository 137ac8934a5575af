// bench_spawn LOOPS SECONDS
// The floor of /run: `sh -c true` by posix_spawn with two pipes that are read to their end, in LOOPS
// processes that each do one after the other.

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tools.hpp"

extern char** environ;

namespace bench {
namespace {

void read_to_end(int fd) {
    char buffer[4096];
    while (read(fd, buffer, sizeof buffer) > 0) {
    }
    close(fd);
}

void run_true() {
    int out[2], err[2];
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) fail_errno("pipe2");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    char sh[] = "sh", c[] = "-c", command[] = "true";
    char* const args[] = {sh, c, command, nullptr};
    pid_t pid = 0;
    const int error = posix_spawn(&pid, "/bin/sh", &actions, nullptr, args, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) fail(std::string("posix_spawn: ") + std::strerror(error));
    close(out[1]);
    close(err[1]);
    read_to_end(out[0]);
    read_to_end(err[0]);
    int status = 0;
    if (waitpid(pid, &status, 0) != pid || status != 0) fail("true has failed");
}

constexpr std::size_t kMax = 1 << 17;  // runs of one loop

struct Results {
    std::size_t count;
    float latencies[kMax];
};

void loop(Results& results, Clock::time_point deadline) {
    for (Clock::time_point now = Clock::now(); now < deadline && results.count < kMax;) {
        run_true();
        const Clock::time_point end = Clock::now();
        results.latencies[results.count++] = std::chrono::duration<float>(end - now).count();
        now = end;
    }
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
    using namespace bench;
    if (argc != 3) fail("usage: bench_spawn LOOPS SECONDS");
    const auto loops = static_cast<std::size_t>(number(argv[1]));
    void* const memory =
        mmap(nullptr, loops * sizeof(Results), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail_errno("mmap");
    auto* const results = static_cast<Results*>(memory);
    const Clock::time_point begin = Clock::now();
    const auto deadline = begin + std::chrono::duration_cast<Clock::duration>(
                                      std::chrono::duration<double>(std::atof(argv[2])));
    std::vector<pid_t> workers;
    for (std::size_t i = 0; i < loops; ++i) {
        const pid_t pid = fork();
        if (pid < 0) fail_errno("fork");
        if (pid == 0) {
            loop(results[i], deadline);
            _exit(0);
        }
        workers.push_back(pid);
    }
    for (const pid_t pid : workers) {
        int status = 0;
        if (waitpid(pid, &status, 0) != pid || status != 0) fail("a loop has failed");
    }
    const double seconds = seconds_since(begin);
    std::vector<float> all;
    for (std::size_t i = 0; i < loops; ++i)
        all.insert(all.end(), results[i].latencies, results[i].latencies + results[i].count);
    print_latencies(std::move(all), seconds);
}
