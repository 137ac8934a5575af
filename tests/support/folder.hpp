#pragma once
// A directory that goes with its object.

#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

namespace sandbox::test {

// For all users to enter, where they may enter `root`.
class Folder {
  public:
    explicit Folder(const std::string& root = "/tmp") : path_(root + "/sandbox-test-XXXXXX") {
        if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("no folder in " + root);
        ::chmod(path_.c_str(), 0755);
    }
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    const std::string& path() const { return path_; }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }
    std::string file(const std::string& name, const std::string& text, mode_t mode) const {
        std::string path = *this / name;
        std::ofstream(path) << text;
        ::chmod(path.c_str(), mode);
        return path;
    }

  private:
    std::string path_;
};

}  // namespace sandbox::test
