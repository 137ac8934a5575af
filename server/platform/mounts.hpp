#pragma once
// Which file systems a path leads through, found out without touching one before it is said that it may be.

#include <functional>
#include <memory>
#include <string>

namespace sandbox {

// The mounts of our mount namespace, as they were at most 20 ms ago. Thread-safe.
class Mounts {
  public:
    Mounts();
    ~Mounts();
    Mounts(const Mounts&) = delete;
    Mounts& operator=(const Mounts&) = delete;

    // Follows `path` as the kernel would, symbolic links too, and calls enter(file_system) each time before
    // it looks at anything in another file system than before; false from it ends the walk. Any call into a
    // hung file system blocks, so this may, but only after enter() has said yes to that one. True when the
    // end was reached; what does not exist is walked on as text.
    //
    // A file system is named by its device number, as in /proc/self/mountinfo (proc(5)); without /proc all
    // are one, named "". FIFOs, sockets and character devices count as one more, kSpecialFiles: using them
    // waits for whoever is on the other side.
    bool walk(const std::string& path, const std::function<bool(const std::string&)>& enter);

    static constexpr const char* kSpecialFiles = "special files";

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sandbox
