// Processes that go on: start, look at, follow, write to, end.

#include "example.hpp"

using namespace koyeb::sandbox;

static void background_processes() {
    Sandbox sandbox = example::connect();
    const std::string id =
        sandbox.launch_process("for i in 1 2 3; do echo step $i; sleep 0.1; done; sleep 300");
    LogStream logs = sandbox.process_logs(id);
    for (int lines = 0; lines < 3; ++lines)
        if (const auto event = logs.next()) std::cout << event->data;
    for (const ProcessInfo& process : sandbox.list_processes())
        if (process.id == id) std::cout << "status: " << process.status << '\n';
    sandbox.kill_process(id);
    std::cout << "then: " << sandbox.get_process(id).status << '\n';

    LaunchOptions options;
    options.open_stdin = true;
    const std::string reader =
        sandbox.launch_process("while read -r line; do echo \"got $line\"; done", options);
    sandbox.send_stdin(reader, "one\ntwo\n", true);
    LogStream answers = sandbox.process_logs(reader);
    while (const auto event = answers.next()) std::cout << event->data;
}

int main() { return example::run(background_processes); }
