// watch.

#include <nlohmann/json.hpp>

#include "context.hpp"

namespace cli {
namespace {

namespace sdk = koyeb::sandbox;
using Json = nlohmann::ordered_json;

const char* type_name(sdk::FileEventType type) {
    switch (type) {
        case sdk::FileEventType::create:
            return "create";
        case sdk::FileEventType::write:
            return "write";
        case sdk::FileEventType::remove:
            return "remove";
        case sdk::FileEventType::rename:
            return "rename";
        case sdk::FileEventType::chmod:
            break;
    }
    return "chmod";
}

}  // namespace

int run_watch(const Context& context, const FileOptions& options) {
    sdk::Sandbox sandbox = context.connect();
    const std::string& path = options.paths.at(0);
    sdk::Watch watch = sandbox.filesystem().watch(path, options.recursive);
    for (;;) {
        const sdk::FileEvent event = watch.next();
        const std::string whole = event.name == "." ? path : join_path(path, event.name);
        if (context.json) {
            const Json json = {{"type", type_name(event.type)}, {"name", event.name}, {"path", whole}};
            print_line(json.dump(-1, ' ', false, Json::error_handler_t::replace));
        } else {
            std::string type = type_name(event.type);
            type.resize(8, ' ');
            print_line(type + whole);
        }
    }
}

}  // namespace cli
