#pragma once
// The event loop's types. One thread runs the loop, and all state of services and adapters belongs to that
// thread: no locks, no strands. Work that can block goes through BlockingPool.
//
// Coroutine rules of this code base:
//  - coroutines are named functions; a parameter is taken by value, or by reference to what outlives it by
//    contract;
//  - never write an aggregate or a capturing lambda inside a co_await expression: g++ 12 destroys such a
//    temporary twice (GCC PR 107288). Name it first;
//  - no co_await behind && or || in the condition of a loop: g++ 12 awaits it in any case.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <string_view>

namespace sandbox {

using Loop = boost::asio::io_context;
using Executor = Loop::executor_type;

template <class T = void>
using Task = boost::asio::awaitable<T, Executor>;

inline constexpr boost::asio::use_awaitable_t<Executor> use_task{};

// Starts `task` on the loop, detached. What escapes it as an exception is logged under `name`. `done` runs on
// the loop after it has ended, however it ended.
void spawn_task(Loop& loop, std::string_view name, Task<> task, std::function<void()> done = {});

}  // namespace sandbox
