// Bodies and queries of every route of the Koyeb dialect, through the real handlers, files and processes.
// Input: the route in the first byte, a line that is the query, and the body. "$ID" stands for the process.

#include <nlohmann/json.hpp>
#include <string>

#include "fuzz/services_in_jail.hpp"
#include "koyeb/context.hpp"
#include "services/port_binding.hpp"

using namespace sandbox;

namespace {

void check_answer(const fuzz::MemoryExchange& exchange) {
    if (!exchange.answered() || exchange.peer_gone()) return;
    const std::string& type = exchange.content_type;
    if (type.starts_with("application/json")) {
        const auto json = nlohmann::json::parse(exchange.answer, nullptr, false);
        FUZZ_CHECK(json.is_object());
        if (exchange.status >= 400) FUZZ_CHECK(json["error"].is_string() || json.contains("status"));
    } else if (type.starts_with("text/event-stream")) {
        FUZZ_CHECK(exchange.answer.empty() || exchange.answer.ends_with("\n\n"));
        for (const char c : exchange.answer) FUZZ_CHECK(static_cast<unsigned char>(c) < 0x80);
    }
    FUZZ_CHECK(exchange.status != 500 || exchange.answer.find("start") != std::string::npos);
}

class Target {
  public:
    explicit Target(const fuzz::Jail& jail) : services_(jail) { koyeb::add_routes(router_, context_); }

    void run(const fuzz::Input& input) {
        std::string text(input.text);
        const auto process = services_.process();
        fuzz::replace_all(text, "$ID", process->id());
        const std::size_t line = std::min(text.find('\n'), text.size());
        const auto& route = router_.routes()[input.choice % router_.routes().size()];
        net::Request request;
        request.path = route.path;
        request.method = route.methods.front();
        request.raw_query = text.substr(0, line);
        const std::string_view body = std::string_view(text).substr(std::min(line + 1, text.size()));
        if (request.method == net::Method::post) request.content_length = body.size();
        const unsigned cuts = static_cast<unsigned>(text.size()) * 31 + input.choice;
        fuzz::MemoryExchange exchange(std::move(request), fuzz::cut(body, cuts % 7), cuts % 5 == 0 ? 2 : 0);
        services_.serve(router_, exchange);
        check_answer(exchange);
        fuzz::Jail::clear();
    }

  private:
    fuzz::Services services_;
    PortBinding binding_{{3030}};
    koyeb::Context context_{services_.loop,     services_.file_pool,  services_.spill_dir,
                            services_.commands, services_.processes,  binding_,
                            64 * 1024,          [] { return false; }, [] { return std::string("metrics"); }};
    net::Router router_;
};

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    fuzz::prepare_for_children();
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::run_in_jail<Target>(fuzz::Input(data, size));
    return 0;
}
