#pragma once
// What the file handlers share.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "koyeb/context.hpp"
#include "koyeb/request_body.hpp"

namespace sandbox::koyeb {

struct PathRequest {
    std::unique_ptr<Body> body;
    std::string path;
    std::vector<std::string> paths() const { return {path}; }
};

// A body in which `path` is text; null when an error has been answered.
Task<std::unique_ptr<PathRequest>> read_path(net::Exchange& exchange, Context& context,
                                             std::string_view large_key = {});

}  // namespace sandbox::koyeb
