#pragma once
// Runs coroutines to their end on a loop, until nothing is left to do on it.

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <utility>

#include "platform/loop.hpp"

namespace sandbox::test {

inline void run_loop(Loop& loop) {
    loop.restart();
    loop.run_for(std::chrono::seconds(60));
    EXPECT_TRUE(loop.stopped()) << "the loop still has work after 60 s";
}

template <class T>
Task<> keep_result(Task<T> task, std::optional<T>* result) {
    result->emplace(co_await std::move(task));
}

inline Task<> keep_result(Task<> task, std::optional<bool>* done) {
    co_await std::move(task);
    done->emplace(true);
}

// Throws std::bad_optional_access when the task did not get to its end.
template <class T>
T run_task(Loop& loop, Task<T> task) {
    std::optional<T> result;
    spawn_task(loop, "test", keep_result(std::move(task), &result));
    run_loop(loop);
    return std::move(result).value();
}

inline void run_task(Loop& loop, Task<> task) {
    std::optional<bool> done;
    spawn_task(loop, "test", keep_result(std::move(task), &done));
    run_loop(loop);
    EXPECT_TRUE(done.has_value());
}

}  // namespace sandbox::test
