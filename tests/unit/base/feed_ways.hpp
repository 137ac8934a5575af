#pragma once
// The ways a streaming codec is fed in these tests.

#include <cstddef>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace sandbox::test {

using Pieces = std::vector<std::string_view>;

// Calls `check` with `input` whole, byte by byte, cut in two at every place, and cut at random.
inline void for_every_way(std::string_view input, const std::function<void(const Pieces&)>& check) {
    check({input});
    Pieces bytes;
    for (std::size_t i = 0; i < input.size(); ++i) bytes.push_back(input.substr(i, 1));
    check(bytes);
    for (std::size_t i = 0; i <= input.size(); ++i) check({input.substr(0, i), input.substr(i)});
    std::mt19937 random(static_cast<unsigned>(input.size()) + 1);
    for (int round = 0; round < 20; ++round) {
        Pieces pieces;
        std::string_view rest = input;
        while (!rest.empty()) {
            const std::size_t size = std::uniform_int_distribution<std::size_t>(0, 7)(random);
            pieces.push_back(rest.substr(0, size));
            rest.remove_prefix(pieces.back().size());
        }
        check(pieces);
    }
}

// Text made of the fragments that matter to a codec, in random order.
inline std::string random_text(std::mt19937& random, const std::vector<std::string>& fragments,
                               std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) {
        text += fragments[std::uniform_int_distribution<std::size_t>(0, fragments.size() - 1)(random)];
    }
    return text;
}

}  // namespace sandbox::test
