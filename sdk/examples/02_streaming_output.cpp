// Output while the command runs: by callbacks, and by asking for the next piece.

#include "example.hpp"

using namespace koyeb::sandbox;

static void streaming_output() {
    Sandbox sandbox = example::connect();

    ExecOptions options;
    options.on_stdout = [](std::string_view data) { std::cout << "out: " << data << std::flush; };
    options.on_stderr = [](std::string_view data) { std::cout << "err: " << data << std::flush; };
    const CommandResult result =
        sandbox.exec("for i in 1 2 3; do echo line $i; sleep 0.1; done; echo done >&2", options);
    std::cout << "exit code " << result.exit_code << '\n';

    // A stream that is dropped ends its command.
    CommandStream stream = sandbox.exec_stream("i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.05; done");
    for (int pieces = 0; pieces < 3; ++pieces) {
        if (const auto event = stream.next()) std::cout << event->data;
    }
    std::cout << "enough\n";
}

int main() { return example::run(streaming_output); }
