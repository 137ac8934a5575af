// Directories: make, list, remove.

#include "example.hpp"

using namespace koyeb::sandbox;

static void directories() {
    Sandbox sandbox = example::connect();
    Filesystem fs = sandbox.filesystem();
    const std::string directory = sandbox.exec("mktemp -d | tr -d '\\n'").stdout_data;

    fs.mkdir(directory + "/project/src/deep");  // with parents
    fs.write_file(directory + "/project/README.md", "# Project\n");
    for (const std::string& name : fs.ls(directory + "/project")) std::cout << name << '\n';
    try {
        fs.mkdir(directory + "/project", false);
    } catch (const SandboxFileExistsError&) {
        std::cout << "project exists\n";
    }
    fs.delete_dir(directory);
    std::cout << std::boolalpha << "left: " << fs.exists(directory) << '\n';
}

int main() { return example::run(directories); }
