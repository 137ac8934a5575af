#pragma once
// The blocking form: the awaitables of the other, run on an io_context of its own.

#include <boost/asio/io_context.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "koyeb/sandbox/async_sandbox.hpp"

namespace koyeb::sandbox {

class BlockingCore {
  public:
    explicit BlockingCore(ConnectionInfo info) : client_(context_.get_executor(), std::move(info)) {}

    AsyncClient& client() { return client_; }
    AsyncSandbox sandbox() const { return AsyncSandbox(client_); }

    // Runs the operation to its end on this thread. A callback of it may call run() again.
    template <class T>
    T run(Awaitable<T> operation) {
        std::optional<T> result;
        run_void(store(std::move(operation), result));
        return std::move(*result);
    }
    void run(Awaitable<> operation) { run_void(std::move(operation)); }

    // For what touches connections outside of run(): destructors of streams.
    std::unique_lock<std::recursive_mutex> lock() { return std::unique_lock(mutex_); }

  private:
    template <class T>
    static Awaitable<> store(Awaitable<T> operation, std::optional<T>& result) {
        result.emplace(co_await std::move(operation));
    }
    void run_void(Awaitable<> operation);

    std::recursive_mutex mutex_;
    boost::asio::io_context context_;  // without a concurrency hint: see run_void()
    AsyncClient client_;
};

}  // namespace koyeb::sandbox
