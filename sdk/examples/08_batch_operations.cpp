// Many files at once, and then work on them.

#include "example.hpp"

using namespace koyeb::sandbox;

static void batch_operations() {
    Sandbox sandbox = example::connect();
    Filesystem fs = sandbox.filesystem();
    const std::string directory = sandbox.exec("mktemp -d | tr -d '\\n'").stdout_data;

    constexpr int kFiles = 10;
    std::vector<FileToWrite> files;
    files.reserve(kFiles);
    for (int i = 0; i < kFiles; ++i)
        files.push_back({directory + "/part" + std::to_string(i), "content " + std::to_string(i) + "\n"});
    fs.write_files(files);
    std::cout << fs.ls(directory).size() << " files\n";
    ExecOptions options;
    options.cwd = directory;
    std::cout << sandbox.exec("cat part* | tail -1", options).stdout_data;
    fs.rm(directory, true);
}

int main() { return example::run(batch_operations); }
