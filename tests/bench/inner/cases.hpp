#pragma once
// The inner benchmarks: pieces of the daemon's code on fixed input, each as a function to be repeated. The
// same list is timed by Google Benchmark and counted by callgrind (main.cpp).

#include <cstddef>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace sandbox::bench {

struct Case {
    std::string name;       // "part/input"
    std::size_t bytes = 0;  // of input, a repetition
    // Sets up and gives what is repeated, which owns what it needs.
    std::function<std::function<void()>()> make;
};

std::vector<Case> base_cases();
std::vector<Case> net_cases();
std::vector<Case> service_cases();

inline constexpr std::size_t kBlock = 64 * 1024;  // what a pump reads at once

inline std::string repeated(std::string_view text, std::size_t size) {
    std::string all;
    while (all.size() < size) all += text;
    all.resize(size);
    return all;
}

inline std::string lines_of(std::size_t width, std::size_t size) {
    return repeated(std::string(width, 'a') + "\n", size);
}

// The same bytes at every start.
inline std::string noise(std::size_t size) {
    std::mt19937 generator(1);
    std::string all(size, '\0');
    for (char& c : all) c = static_cast<char>(generator() & 0xffU);
    return all;
}

}  // namespace sandbox::bench
