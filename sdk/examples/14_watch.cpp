// Changes of files as they happen.

#include "example.hpp"

using namespace koyeb::sandbox;

static void watch() {
    Sandbox sandbox = example::connect();
    const std::string directory = sandbox.exec("mktemp -d | tr -d '\\n'").stdout_data;
    Filesystem fs = sandbox.filesystem();
    Watch changes = fs.watch(directory, true);
    // From here on nothing is missed, whoever makes the change.
    sandbox.exec("cd " + directory + " && mkdir build && echo done > build/result");
    while (true) {
        const FileEvent event = changes.next();
        if (event.type == FileEventType::create) std::cout << "created " << event.name << '\n';
        if (event.name == "build/result") break;
    }
    fs.delete_dir(directory);
}

int main() { return example::run(watch); }
