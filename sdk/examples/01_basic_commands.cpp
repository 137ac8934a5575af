// Commands: output, exit codes, errors.

#include "example.hpp"

using namespace koyeb::sandbox;

static void basic_commands() {
    Sandbox sandbox = example::connect();
    if (!sandbox.wait_ready()) throw SandboxError("the sandbox is not ready");

    CommandResult result = sandbox.exec("echo 'Hello from the sandbox!'");
    std::cout << result.stdout_data;

    result = sandbox.exec("echo problem >&2; exit 3");
    std::cout << "exit code " << result.exit_code << ", stderr: " << result.stderr_data;
    std::cout << "success: " << std::boolalpha << result.success() << '\n';

    // Without a shell: nothing in the words is interpreted.
    ExecOptions options;
    options.args = {"echo", "$HOME", "a  b"};
    std::cout << sandbox.exec("", options).stdout_data;

    // A time limit ends the whole process tree; what was printed until then is not lost.
    ExecOptions limited;
    limited.timeout = Seconds{0.5};
    try {
        sandbox.exec("echo started; sleep 60", limited);
    } catch (const SandboxTimeoutError& error) {
        std::cout << error.what() << "; it said: " << error.partial()->stdout_data;
    }
}

int main() { return example::run(basic_commands); }
