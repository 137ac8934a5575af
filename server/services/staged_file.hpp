#pragma once
// What write_file() writes to before anybody sees it. Not for adapters.
//
// Functions that return an int return an errno, 0 for none.

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/unique_fd.hpp"

namespace sandbox::files::detail {

// A file in the directory of its target that does not have the target's name yet. Whatever is not published
// leaves nothing behind: without a name that holds even when we are killed.
class StagedFile {
  public:
    StagedFile() = default;
    ~StagedFile();
    StagedFile(const StagedFile&) = delete;
    StagedFile& operator=(const StagedFile&) = delete;

    // First one of these two. `dir` is the target's directory, the caller's, and stays open; `leaf` its name
    // there. `mode` is subject to the umask.
    int create(int dir, const std::string& leaf, mode_t mode);
    // Of a file that has all of the content already and has no name. Whether it can get one here, publishing
    // tells.
    int adopt(int dir, const std::string& leaf, int file);

    int fd() const { return fd_.get(); }

    // Then one of these, which close it. Gives it the name of the target if nothing has it; EEXIST when
    // something does. `by_rename`: from a staging name, by which a watch can tell it from somebody's link(2).
    int publish_new(bool by_rename);
    // Puts it in the place of the target.
    int publish_over();

  private:
    int take_staging_name();
    int link_as(const std::string& name) const;
    int rename_as(unsigned flags);
    int close();

    int dir_ = -1;
    std::string leaf_;
    UniqueFd fd_;
    std::string name_;  // empty: it has none
};

// Room for what is about to be appended, so that a full disk is told before the first byte. A file system
// that cannot reserve any tells only while it is written to.
class Reservation {
  public:
    // `fd` is the caller's, and open until give_back().
    int take(int fd, std::uint64_t length);
    // What was not written to goes back to the file system.
    void give_back();

  private:
    int fd_ = -1;
    blkcnt_t blocks_ = 0;
};

}  // namespace sandbox::files::detail
