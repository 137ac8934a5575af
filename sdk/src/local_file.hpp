#pragma once
// Files on this side.

#include <sys/stat.h>

#include <string>
#include <string_view>

namespace koyeb::sandbox {

// A descriptor of a local file. Everything throws SandboxFilesystemError or a class below it.
class LocalFile {
  public:
    LocalFile(const std::string& path, int flags);
    ~LocalFile();
    LocalFile(const LocalFile&) = delete;
    LocalFile& operator=(const LocalFile&) = delete;

    // A directory is an error.
    struct stat info() const;
    void set_mode(unsigned mode);
    // Less than `length` bytes only at the end of the file.
    std::string read(std::size_t length);
    // Back to the start. False for a pipe and its like.
    bool rewind();
    void write(std::string_view bytes);
    void close();

  private:
    [[noreturn]] void fail(const char* operation, int error) const;

    std::string path_;
    int fd_;
};

// A local file that gets its name when it is whole; without that it is removed. What is no regular file (a
// device, a pipe) cannot be replaced and is written in place.
class StagedFile {
  public:
    explicit StagedFile(std::string path);
    ~StagedFile();
    StagedFile(const StagedFile&) = delete;
    StagedFile& operator=(const StagedFile&) = delete;

    void set_mode(unsigned mode);
    void write(std::string_view bytes) { file_.write(bytes); }
    // Closes it and gives it its name.
    void finish();

  private:
    std::string path_;
    std::string staged_;  // empty: in place, or done
    LocalFile file_;
};

}  // namespace koyeb::sandbox
