#include "platform/loop.hpp"

#include <boost/asio/co_spawn.hpp>
#include <exception>
#include <string>

#include "base/log.hpp"

namespace sandbox {

void spawn_task(Loop& loop, std::string_view name, Task<> task, std::function<void()> done) {
    boost::asio::co_spawn(
        loop.get_executor(), std::move(task),
        [name = std::string(name), done = std::move(done)](const std::exception_ptr& failure) {
            if (failure) {
                try {
                    std::rethrow_exception(failure);
                } catch (const std::exception& e) {
                    log::error("task failed", {{"task", name}, {"error", e.what()}});
                } catch (...) {
                    log::error("task failed", {{"task", name}, {"error", "not an exception"}});
                }
            }
            if (done) done();
        });
}

}  // namespace sandbox
