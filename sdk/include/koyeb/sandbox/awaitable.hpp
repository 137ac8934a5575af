#pragma once
/// @file
/// The coroutine type of the asynchronous interface.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

namespace koyeb::sandbox {

/// What the awaitable methods return.
template <class T = void>
using Awaitable = boost::asio::awaitable<T>;

}  // namespace koyeb::sandbox
