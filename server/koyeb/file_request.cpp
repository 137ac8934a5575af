#include "koyeb/file_request.hpp"

namespace sandbox::koyeb {

Task<std::unique_ptr<PathRequest>> read_path(net::Exchange& exchange, Context& context,
                                             std::string_view large_key) {
    auto request = std::make_unique<PathRequest>();
    request->body = co_await read_json(exchange, context, large_key);
    if (!request->body) co_return nullptr;
    Result<std::string> path = request->body->fields.string_or("path", "");
    if (!path) {
        co_await respond_invalid(exchange, path.error().message);
        co_return nullptr;
    }
    request->path = std::move(*path);
    co_return request;
}

}  // namespace sandbox::koyeb
