// The working directory of a command.

#include "example.hpp"

using namespace koyeb::sandbox;

static void working_directory() {
    Sandbox sandbox = example::connect();
    const std::string directory = sandbox.exec("mktemp -d | tr -d '\\n'").stdout_data;
    ExecOptions options;
    options.cwd = directory;
    sandbox.exec("mkdir -p src && echo 'int main() {}' > src/main.cpp", options);
    std::cout << sandbox.exec("find . -type f", options).stdout_data;

    options.cwd = "/does/not/exist";
    try {
        sandbox.exec("pwd", options);
    } catch (const SandboxCommandError& error) {
        std::cout << error.what() << '\n';
    }
    sandbox.filesystem().rm(directory, true);
}

int main() { return example::run(working_directory); }
