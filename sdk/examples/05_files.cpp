// Files: write, read, append, ask, rename, remove.

#include "example.hpp"

using namespace koyeb::sandbox;

static void files() {
    Sandbox sandbox = example::connect();
    Filesystem fs = sandbox.filesystem();
    const std::string directory = sandbox.exec("mktemp -d | tr -d '\\n'").stdout_data;
    const std::string path = directory + "/notes.txt";

    fs.write_file(path, "first line\n");
    std::cout << fs.read_file(path).content;

    FileHandle log = fs.open(path, "a");
    log.write("second line\n");
    log.close();
    FileHandle reader = fs.open(path);
    std::cout << "five bytes: " << reader.read(5) << "; the rest:" << reader.read();

    std::cout << std::boolalpha << "exists " << fs.exists(path) << ", file " << fs.is_file(path)
              << ", directory " << fs.is_dir(path) << '\n';
    fs.rename_file(path, directory + "/renamed.txt");
    try {
        fs.read_file(path);
    } catch (const SandboxFileNotFoundError&) {
        std::cout << "it is gone from its old name\n";
    }
    fs.rm(directory, true);
}

int main() { return example::run(files); }
