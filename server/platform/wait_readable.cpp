#include "platform/wait_readable.hpp"

#include <algorithm>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>

#include "platform/event.hpp"

namespace sandbox {

namespace asio = boost::asio;

Task<bool> wait_readable(Loop& loop, int fd, std::chrono::steady_clock::time_point until) {
    asio::posix::basic_stream_descriptor<Executor> descriptor(loop);
    boost::system::error_code ec;
    descriptor.assign(fd, ec);
    if (ec) co_return true;
    Timer timer(loop);
    auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    timer.start(std::max(left, std::chrono::milliseconds(0)), [&descriptor] {
        boost::system::error_code ignored;
        descriptor.cancel(ignored);
    });
    co_await descriptor.async_wait(asio::posix::descriptor_base::wait_read,
                                   asio::redirect_error(use_task, ec));
    descriptor.release();
    co_return ec != asio::error::operation_aborted;
}

}  // namespace sandbox
