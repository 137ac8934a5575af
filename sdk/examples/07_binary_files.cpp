// Bytes that are no text arrive as they are.

#include "example.hpp"

using namespace koyeb::sandbox;

static void binary_files() {
    Sandbox sandbox = example::connect();
    Filesystem fs = sandbox.filesystem();
    const std::string path = sandbox.exec("mktemp | tr -d '\\n'").stdout_data;

    std::string bytes;
    for (int value = 0; value < 256; ++value) bytes += static_cast<char>(value);
    fs.write_file(path, bytes);
    std::cout << "equal: " << std::boolalpha << (fs.read_bytes(path) == bytes) << '\n';
    std::cout << "size there: " << fs.stat(path).size << '\n';
    // The same bytes through a command's standard input and output.
    ExecOptions options;
    options.stdin_data = bytes;
    std::cout << "through cat: " << (sandbox.exec("cat", options).stdout_data == bytes) << '\n';
    fs.rm(path);
}

int main() { return example::run(binary_files); }
