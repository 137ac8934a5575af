// A server inside the sandbox, reached through the TCP forwarder.

#include "example.hpp"

using namespace koyeb::sandbox;

static void expose_port() {
    Sandbox sandbox = example::connect();
    const ExposedPort exposed = sandbox.expose_port(8080);
    std::cout << "port " << exposed.port << " at " << exposed.exposed_at << '\n';
    // Another one takes its place; there is one forwarder.
    std::cout << "port " << sandbox.expose_port(8081).port << '\n';
    sandbox.unexpose_port();
    std::cout << "closed\n";
}

int main() { return example::run(expose_port); }
