#pragma once
// Our ends of a command's pipes (or of its terminal), non-blocking, on the loop thread.

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "platform/loop.hpp"

namespace sandbox {

// pipe2(2): {read end, write end}, both close-on-exec and blocking.
Result<std::pair<UniqueFd, UniqueFd>> make_pipe();

class ReadEnd {
  public:
    // Takes ownership and makes the descriptor non-blocking. It gets to epoll with the first readable(): one
    // that is read without waiting costs nothing there.
    ReadEnd(Loop& loop, UniqueFd fd);
    ~ReadEnd();
    ReadEnd(const ReadEnd&) = delete;
    ReadEnd& operator=(const ReadEnd&) = delete;

    // read(2): > 0 bytes, 0 at the end (EIO of a terminal whose other side is gone is an end too), or -errno;
    // -EAGAIN asks for readable().
    long read_now(std::span<char> out);
    // Suspends until there is something to read, or an end. Where epoll takes no more it looks every 10 ms,
    // so a read may find nothing. False after close().
    Task<bool> readable();
    // Bytes that lie in the pipe now (FIONREAD).
    std::size_t pending() const;
    // Whether anybody could still write: false as soon as the last copy of the other end is closed, though
    // bytes may lie in the pipe and the end is not read yet.
    bool has_writers() const;
    // Makes the pipe hold `bytes` from now on (F_SETPIPE_SZ). False: the kernel refuses, and it stays as it
    // is.
    bool enlarge(std::size_t bytes);
    int fd() const;
    void close();

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

class WriteEnd {
  public:
    // As of ReadEnd.
    WriteEnd(Loop& loop, UniqueFd fd);
    ~WriteEnd();
    WriteEnd(const WriteEnd&) = delete;
    WriteEnd& operator=(const WriteEnd&) = delete;

    // Suspends until all is written: that is the back-pressure. EPIPE when nobody reads any more, or after
    // close(). One writer at a time. `give_up`, when there is one, is looked at before each write and after
    // interrupt(): once it is true the rest is left out, and the error is cancelled.
    Task<Result<>> write_all(std::string_view bytes, const bool* give_up = nullptr);
    // Wakes a suspended write_all().
    void interrupt();
    void close();
    bool is_open() const;
    // Whether somebody holds the other end of a pipe.
    bool has_reader() const;

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace sandbox
