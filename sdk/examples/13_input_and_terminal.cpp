// Commands that are talked to while they run: over a pipe, and on a terminal.

#include "example.hpp"

using namespace koyeb::sandbox;

static void input_and_terminal() {
    Sandbox sandbox = example::connect();
    ExecOptions options;
    options.open_stdin = true;
    CommandStream counter =
        sandbox.exec_stream("sum=0; while read -r n; do sum=$((sum + n)); echo $sum; done", options);
    for (const char* number : {"1\n", "20\n", "300\n"}) {
        counter.write(number);
        if (const auto event = counter.next()) std::cout << event->data;
    }
    counter.close_stdin();
    while (counter.next()) {
    }

    PtyOptions terminal;
    terminal.size = {100, 30};
    CommandStream shell =
        sandbox.pty("stty -echo; stty size; read -r line; stty size; echo \"$line\"", terminal);
    std::string shown;
    while (shown.find("30 100\r\n") == std::string::npos) {
        const auto event = shell.next();
        if (!event) break;
        shown += event->data;
    }
    shell.resize({120, 40});
    shell.write("typed\n");
    while (const auto event = shell.next()) shown += event->data;
    std::erase(shown, '\r');
    std::cout << shown << "exit code " << shell.end().exit_code << '\n';
}

int main() { return example::run(input_and_terminal); }
