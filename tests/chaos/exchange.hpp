#pragma once
// What a client and the daemon say to each other, and how to tell afterwards whether it is true.

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "support/http_answers.hpp"

namespace sandbox::chaos {

// What a request has done.
enum class Effect {
    absent,
    done,
    torn,  // a part of it
};

// One request and what is true of it. Cases are numbered, so that each can leave a trace of its own.
struct Part {
    std::function<std::string(int n)> request;  // of the same length for every n
    int status = 200;
    std::string expected;  // stands in the body of every whole answer
    // Asked when the daemon has come to rest; null: there is nothing to see.
    std::function<Effect(int n)> effect = nullptr;
    std::size_t surplus = 0;   // bytes at the end that change nothing
    bool must_happen = false;  // once it has been sent, whether anybody waits for the answer or not
    bool may_be_torn = false;  // by ending a command whose client has left
};

struct Exchange {
    std::string name;
    int port = 0;
    std::vector<Part> parts;                // pipelined requests on one connection
    std::function<void()> start = nullptr;  // before all cases
    // Before a case; `sent` is false when not all of the request will be sent.
    std::function<void(int n, bool sent)> prepare = nullptr;
    std::function<void()> finish = nullptr;  // after all cases, before the daemon is looked at
    std::string until = {};  // of an answer that does not end by itself: as much as there is to wait for
    bool endless = false;
    bool large = false;     // too long to be cut at every position
    std::size_t every = 1;  // of so many positions one is cut: more where a case costs much
    bool alone = false;     // its effects are those of the whole daemon: one case at a time, each looked at

    std::string request(int n) const {
        std::string all;
        for (const Part& part : parts) all += part.request(n);
        return all;
    }
};

}  // namespace sandbox::chaos
