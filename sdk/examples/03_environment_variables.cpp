// Environment variables of a command.

#include "example.hpp"

using namespace koyeb::sandbox;

static void environment_variables() {
    Sandbox sandbox = example::connect();
    ExecOptions options;
    options.env = {{"GREETING", "hello"}, {"NAME", "wide world"}};
    std::cout << sandbox.exec("echo \"$GREETING, $NAME\"", options).stdout_data;
    // They were that command's alone.
    std::cout << "then: [" << sandbox.exec("printf %s \"$GREETING\"").stdout_data << "]\n";
}

int main() { return example::run(environment_variables); }
