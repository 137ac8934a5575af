// sandbox-forwarder LISTEN_PORT TARGET_PORT: the forwarder alone, for measuring it.

#include <csignal>
#include <cstdio>
#include <exception>

#include "platform/listen.hpp"
#include "proxy/forwarder.hpp"

namespace {

int run(const char* listen_port, const char* target_port) {
    auto target = sandbox::parse_port(target_port);
    auto listener = sandbox::listen_tcp(listen_port);
    if (!target || !listener) {
        std::fprintf(stderr, "%s\n", (target ? listener.error() : target.error()).message.c_str());
        return 1;
    }
    sandbox::Loop loop(1);
    sandbox::PortBinding binding;
    sandbox::proxy::Forwarder forwarder(loop, binding, std::move(*listener));
    (void)binding.bind(*target);
    std::printf("%u\n", static_cast<unsigned>(forwarder.port()));
    std::fflush(stdout);
    loop.run();
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: sandbox-forwarder LISTEN_PORT TARGET_PORT\n");
        return 2;
    }
    std::signal(SIGPIPE, SIG_IGN);
    try {
        return run(argv[1], argv[2]);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
}
