#pragma once
// A directory that goes with its object.

#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace sandbox::test {

// For all users to enter.
class Folder {
  public:
    Folder() {
        char name[] = "/tmp/sandbox-test-XXXXXX";
        path_ = ::mkdtemp(name);
        ::chmod(path_.c_str(), 0755);
    }
    ~Folder() { std::filesystem::remove_all(path_); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    const std::string& path() const { return path_; }
    std::string file(const std::string& name, const std::string& text, mode_t mode) const {
        std::string path = path_ + "/" + name;
        std::ofstream(path) << text;
        ::chmod(path.c_str(), mode);
        return path;
    }

  private:
    std::string path_;
};

}  // namespace sandbox::test
