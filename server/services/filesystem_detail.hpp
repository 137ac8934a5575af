#pragma once
// What the parts of the file service share. Not for adapters.

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "platform/byte_source.hpp"
#include "services/filesystem.hpp"

namespace sandbox::files::detail {

// "<op> <path>: <errno text>".
Error path_error(std::string_view op, std::string_view path, int sys_errno);

bool has_nul(std::string_view path);
Kind kind_of(mode_t mode);
// "a named pipe", "a socket", … as in "open <p>: is a socket".
std::string_view kind_with_article(Kind kind);
FileTime to_time(const timespec& time);
inline mode_t permission_bits(mode_t mode) { return mode & 07777; }
inline bool same_file(const struct stat& a, const struct stat& b) {
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// openat(2) with O_CLOEXEC, again after EINTR; errno tells why there is none.
UniqueFd open_at(int dir, const std::string& name, int flags, mode_t mode = 0);

// "a/b//" is directory "a/", leaf "b", trailing slash; "b" has an empty directory; "/" has an empty leaf.
struct SplitPath {
    std::string directory;
    std::string leaf;
    bool trailing_slash = false;
};
SplitPath split_path(std::string_view path);
// The directory part as a path to open: "." when it is empty.
std::string openable(const std::string& directory);
// As O_PATH, which needs no right to read it. errno tells why there is none.
UniqueFd open_directory(int base, const std::string& directory);

struct DirEntry {
    std::string name;
    unsigned char type = 0;  // DT_… of readdir(3), perhaps DT_UNKNOWN
};
// The next names of a directory, without "." and ".."; none at the end. Returns an errno, 0 for none.
int read_entries(int dir, std::vector<DirEntry>& entries);
// All of them, from where the descriptor stands.
int read_all_entries(int dir, std::vector<DirEntry>& entries);

// A position in a directory tree, held as descriptors, of which only the innermost levels stay open. Going up
// reopens "..", and checks that it is the directory we came from: links are never followed and a tree that is
// moved away under us is noticed.
class DirStack {
  public:
    // `top` was opened with O_RDONLY | O_DIRECTORY.
    explicit DirStack(UniqueFd top);

    int fd() const { return levels_.back().fd.get(); }
    std::size_t depth() const { return levels_.size(); }
    // The position among the entries of fd() was lost on the way back to it: reading starts again.
    bool reopened() const { return levels_.back().reopened; }
    const struct stat& info() const { return levels_.back().info; }

    // Into the directory `name`. Returns an errno, 0 for none.
    int enter(const std::string& name);
    // Back to the parent; not from the top. Returns an errno, ESTALE when the parent is another one now.
    int leave();

  private:
    struct Level {
        UniqueFd fd;
        struct stat info {};
        bool reopened = false;
    };
    static constexpr std::size_t kOpenLevels = 12;

    std::vector<Level> levels_;
};

// Whether the directory `dir` is, or lies somewhere below, the one that `ancestor` describes.
bool is_inside(int dir, const struct stat& ancestor);

// Removes the directory `leaf` of `parent` with all that is in it. `path` is what errors call it.
Result<> remove_tree_at(int parent, const std::string& leaf, const std::string& path);

// A name for a file that is about to take the place of `leaf`.
std::string staging_name(std::string_view leaf);

// The content of an open file; `fd` is the caller's.
class FileSource final : public ByteSource {
  public:
    FileSource(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
    Result<std::size_t> read(std::uint64_t offset, std::span<char> out) override;
    std::optional<FileExtent> file_extent(std::uint64_t offset) const override;

  private:
    int fd_;
    std::string path_;
};

// Writes all of `source` at the position of `fd`, and returns how much that was. Where `fd` takes nothing for
// kStreamPatience the error is EAGAIN. Errors: "write <path>: …", or the source's own.
Result<std::uint64_t> write_content(int fd, ByteSource& source, const std::string& path);

// Copies extended attributes, access control lists included, as far as that is allowed. File capabilities and
// integrity marks belong to the content and are left out unless `with_content`; "user.e2b.*" unless
// `metadata`.
void copy_attributes(int from, int to, bool with_content, bool metadata);
// Makes `metadata` the set of "user.e2b.*" attributes. A file system without attributes is no error.
Result<> replace_metadata(int fd, const Metadata& metadata, const std::string& path);
// `path` as lgetxattr(2) takes it, or getxattr(2) with `follow`.
Metadata read_metadata(const std::string& path, bool follow);

}  // namespace sandbox::files::detail
