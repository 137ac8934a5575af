#include "blocking.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <exception>

namespace koyeb::sandbox {

void BlockingCore::run_void(Awaitable<> operation) {
    const auto held = lock();
    bool done = false;
    std::exception_ptr failure;
    const auto finish = [&done, &failure](std::exception_ptr error) {
        failure = std::move(error);
        done = true;
    };
    // Posted, so that all of it happens inside the frame of run_one() below: what an outer frame's handler
    // starts directly can end up in that frame's private queue, which nobody looks at until the handler
    // returns.
    boost::asio::post(context_, [this, &operation, &finish] {
        boost::asio::co_spawn(context_, std::move(operation), finish);
    });
    // One handler at a time, because an inner call must stop at its own end and an outer one's may come
    // first.
    while (!done) {
        if (context_.stopped()) context_.restart();
        context_.run_one();
    }
    if (failure) std::rethrow_exception(failure);
}

}  // namespace koyeb::sandbox
