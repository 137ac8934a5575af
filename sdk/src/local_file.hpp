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
    // Takes over a descriptor for what will be `path`; a negative one is errno's error.
    struct Opened {
        int fd;
    };
    LocalFile(std::string path, Opened opened);
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
    // For a file without a name.
    void link(const std::string& name);
    void close();

  private:
    [[noreturn]] void fail(const char* operation, int error) const;

    std::string path_;
    int fd_;
};

// A local file that gets its name when it is whole, and is gone without that: also after a kill, where the
// file system has files without a name (O_TMPFILE). What is no regular file (a device, a pipe) cannot be
// replaced and is written in place.
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
    LocalFile::Opened open_file();

    std::string path_;
    std::string staged_;  // the name beside it; empty: in place, or done
    bool nameless_ = false;
    LocalFile file_;
};

}  // namespace koyeb::sandbox
