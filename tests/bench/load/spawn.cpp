// bench_spawn LOOPS SECONDS [HELD]
// The floor of /run: `sh -c true` by posix_spawn with two pipes that are read to their end, in LOOPS
// processes that each do one after the other; each holds HELD more descriptors open.

#include <sys/mman.h>

#include "child.hpp"

namespace bench {
namespace {

void run_true() {
    const Child child = start_shell("true");
    read_to_end(child.out);
    read_to_end(child.err);
    expect_success(child);
}

constexpr std::size_t kMax = 1 << 17;  // runs of one loop

struct Results {
    std::size_t count;
    double cpu;  // of the loop's process, in seconds
    float latencies[kMax];
};

void loop(Results& results, Clock::time_point deadline) {
    for (Clock::time_point now = Clock::now(); now < deadline && results.count < kMax;) {
        run_true();
        const Clock::time_point end = Clock::now();
        results.latencies[results.count++] = std::chrono::duration<float>(end - now).count();
        now = end;
    }
    results.cpu = own_cpu();
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
    using namespace bench;
    if (argc != 3 && argc != 4) fail("usage: bench_spawn LOOPS SECONDS [HELD]");
    raise_descriptor_limit();
    for (long held = argc == 4 ? number(argv[3]) : 0; held > 0; --held)
        if (open("/dev/null", O_RDONLY | O_CLOEXEC) < 0) fail_errno("open");
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
    double cpu = 0;
    for (std::size_t i = 0; i < loops; ++i) {
        all.insert(all.end(), results[i].latencies, results[i].latencies + results[i].count);
        cpu += results[i].cpu;
    }
    print_latencies(std::move(all), seconds, cpu);
}
