// bench_inner [Google Benchmark's flags]: times the cases.
// bench_inner --count: repeats each a fixed number of times and, under callgrind, dumps what it has counted
// for each by name.

#include <benchmark/benchmark.h>
#include <signal.h>
#include <valgrind/callgrind.h>

#include <cstdio>
#include <cstring>

#include "cases.hpp"

namespace {

using sandbox::bench::Case;

std::vector<Case> all_cases() {
    std::vector<Case> all = sandbox::bench::base_cases();
    for (auto& more : {sandbox::bench::net_cases(), sandbox::bench::service_cases()})
        all.insert(all.end(), more.begin(), more.end());
    return all;
}

constexpr int kRepetitions = 10;

void count(const Case& one) {
    const std::function<void()> body = one.make();
    body();  // Buffers have their size afterwards.
    CALLGRIND_ZERO_STATS;
    for (int i = 0; i < kRepetitions; ++i) body();
    CALLGRIND_DUMP_STATS_AT(one.name.c_str());
    std::printf("%s %d %zu\n", one.name.c_str(), kRepetitions, one.bytes);
}

void time(benchmark::State& state, const Case& one) {
    const std::function<void()> body = one.make();
    for ([[maybe_unused]] auto _ : state) body();
    state.SetBytesProcessed(static_cast<std::int64_t>(one.bytes) * state.iterations());
}

}  // namespace

int main(int argc, char** argv) {
    // The pools of the daemon want signals blocked.
    sigset_t signals;
    sigfillset(&signals);
    sigdelset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);

    const std::vector<Case> cases = all_cases();
    if (argc == 2 && std::strcmp(argv[1], "--count") == 0) {
        for (const Case& one : cases) count(one);
        return 0;
    }
    for (const Case& one : cases)
        benchmark::RegisterBenchmark(one.name.c_str(), [&one](benchmark::State& state) { time(state, one); });
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    benchmark::RunSpecifiedBenchmarks();
}
