// Local files to the sandbox and back, with progress.

#include <filesystem>
#include <fstream>

#include "example.hpp"

using namespace koyeb::sandbox;

static void upload_download() {
    Sandbox sandbox = example::connect();
    Filesystem fs = sandbox.filesystem();
    const std::string remote = sandbox.exec("mktemp | tr -d '\\n'").stdout_data;
    const std::string local = remote.substr(remote.rfind('/') + 1) + ".local";

    std::ofstream(local) << std::string(8'000'000, 'x');
    fs.upload_file(local, remote, [](std::uint64_t done, std::uint64_t total) {
        std::cout << "sent " << done << " of " << total << '\n';
    });
    std::cout << sandbox.exec("wc -c < " + remote).stdout_data;
    fs.download_file(remote, local + ".back");
    std::cout << "back: " << std::filesystem::file_size(local + ".back") << '\n';
    std::filesystem::remove(local);
    std::filesystem::remove(local + ".back");
    fs.rm(remote);
}

int main() { return example::run(upload_download); }
