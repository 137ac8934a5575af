// Requests of every route of the envd dialect, through the real handlers, files and processes.
// Input: the route in the first byte, a line that is the query, lines that are headers, an empty line and the
// body. "$PID" stands for the process. Without a Content-Type the body gets the right one, and its envelope.

#include <nlohmann/json.hpp>
#include <string>

#include "e2b/context.hpp"
#include "e2b/envelope.hpp"
#include "fuzz/services_in_jail.hpp"

using namespace sandbox;

namespace {

void check_json(std::string_view text) {
    const auto json = nlohmann::json::parse(text, nullptr, false);
    FUZZ_CHECK(!json.is_discarded());
}

void check_answer(const fuzz::MemoryExchange& exchange) {
    if (!exchange.answered() || exchange.peer_gone()) return;
    const std::string& type = exchange.content_type;
    if (type == "application/connect+json") {
        e2b::EnvelopeReader reader(1U << 26U);
        reader.feed(exchange.answer);
        bool ended = false;
        for (;;) {
            auto envelope = reader.next();
            FUZZ_CHECK(envelope.has_value());
            if (!*envelope) break;
            FUZZ_CHECK(!ended);
            check_json((*envelope)->payload);
            ended = (*envelope)->flags == e2b::kEndStreamFlag;
        }
        FUZZ_CHECK(ended && reader.at_boundary());
    } else if (type.starts_with("application/json") && exchange.request().method != net::Method::get) {
        check_json(exchange.answer);
    }
}

bool is_stream(std::string_view path) {
    return path == "/process.Process/Start" || path == "/process.Process/Connect" ||
           path == "/process.Process/StreamInput" || path == "/filesystem.Filesystem/WatchDir";
}

// What /init and watches change, new for every input.
struct Dialect {
    explicit Dialect(fuzz::Services& services)
        : watchers{FileWatcher(services.loop, services.file_pool), {}, {}},
          context{services.loop,
                  services.file_pool,
                  services.spill_dir,
                  services.commands,
                  services.processes,
                  access,
                  settings,
                  watchers,
                  false,
                  [] { return false; }} {
        settings.default_user = "root";
        settings.default_workdir = "/";
        e2b::add_routes(router, context, e2b::RouteSet::shared);
    }
    e2b::Access access{std::string()};
    e2b::Settings settings;
    e2b::Watchers watchers;
    e2b::Context context;
    net::Router router;
};

class Target {
  public:
    explicit Target(const fuzz::Jail& jail) : services_(jail) {}

    void run(const fuzz::Input& input) {
        Dialect dialect(services_);
        std::string text(input.text);
        const auto process = services_.process();
        fuzz::replace_all(text, "$PID", std::to_string(process->pid()));
        const auto& route = dialect.router.routes()[input.choice % dialect.router.routes().size()];
        net::Request request;
        request.path = route.path;
        request.method = route.methods[input.choice / 128 % route.methods.size()];
        std::string body = read_head(text, request);
        if (request.header("content-type") == nullptr) complete(request, body);
        if (request.method == net::Method::post) request.content_length = body.size();
        const unsigned cuts = static_cast<unsigned>(text.size()) * 31 + input.choice;
        fuzz::MemoryExchange exchange(std::move(request), fuzz::cut(body, cuts % 7), cuts % 5 == 0 ? 2 : 0);
        services_.serve(dialect.router, exchange);
        check_answer(exchange);
        fuzz::Jail::clear();
    }

  private:
    // Returns what is left: the body.
    static std::string read_head(std::string_view text, net::Request& request) {
        auto line = [&text] {
            const std::size_t end = std::min(text.find('\n'), text.size());
            const std::string_view front = text.substr(0, end);
            text.remove_prefix(std::min(end + 1, text.size()));
            return front;
        };
        request.raw_query = line();
        while (!text.empty()) {
            const std::string_view header = line();
            if (header.empty()) break;
            const std::size_t colon = header.find(": ");
            if (colon == std::string_view::npos) break;
            request.headers.emplace_back(header.substr(0, colon), header.substr(colon + 2));
        }
        return std::string(text);
    }
    static void complete(net::Request& request, std::string& body) {
        if (is_stream(request.path)) {
            request.headers.emplace_back("content-type", "application/connect+json");
            std::string enveloped;
            e2b::append_envelope(enveloped, 0, body);
            body = std::move(enveloped);
        } else if (request.path != "/files") {
            request.headers.emplace_back("content-type", "application/json");
        } else {
            request.headers.emplace_back("content-type", "multipart/form-data; boundary=b");
        }
    }

    fuzz::Services services_;
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
