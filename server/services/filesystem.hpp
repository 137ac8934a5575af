#pragma once
// The verbs of the file API. Every function blocks and belongs on a pool thread; all are thread-safe and keep
// no state. They run with the rights of the daemon, follow the rules of the kernel (path_resolution(7)) and
// know no notion of a root directory or of a home: an adapter that needs these resolves the path first. A
// relative path is relative to the working directory of the daemon.
//
// Errors: "<operation> <path>: <errno text>" with the path as given, also in the text of Go's os package
// where clients compare with that; Error::sys_errno is set. A NUL byte in a path is "invalid argument".
//
// Whoever works beside us inside the sandbox may swap directories for symbolic links at any time. What
// changes files here walks with descriptors (openat(2) and kin), so that it never leaves the directory it
// started in.

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "platform/byte_source.hpp"

namespace sandbox::files {

enum class Kind { file, directory, symlink, fifo, socket, char_device, block_device };

// "file", "directory", "symlink", "fifo", "socket", "char_device", "block_device".
std::string_view kind_name(Kind kind);

struct Owner {
    uid_t uid = 0;
    gid_t gid = 0;
};

using FileTime = std::chrono::sys_time<std::chrono::nanoseconds>;
// Extended attributes "user.e2b.<key>", without that prefix; values may hold any bytes.
inline constexpr std::string_view kMetadataPrefix = "user.e2b.";
using Metadata = std::map<std::string, std::string>;

// ---- looking

// What lstat(2) tells, and where a symbolic link leads.
struct Entry {
    std::string name;  // the last component of path
    std::string path;  // as asked for; below the start of a walk: start + "/" + components
    Kind kind = Kind::file;
    std::uint64_t size = 0;
    mode_t mode = 0;  // the lower twelve bits
    uid_t uid = 0;
    gid_t gid = 0;
    std::uint64_t inode = 0;
    std::uint64_t device = 0;
    FileTime modified;

    // Of symbolic links only.
    std::string link_text;            // readlink(2)
    std::string resolved;             // the absolute path it ends at; empty when it leads nowhere
    std::optional<Kind> target_kind;  // nothing when it leads nowhere
    mode_t target_mode = 0;

    Metadata metadata;  // only when asked for; of a link none
};

struct StatOptions {
    bool follow = false;  // describe what a link leads to instead of the link
    bool metadata = false;
};
// Errors: "lstat <p>: …" ("stat <p>: …" with follow).
Result<Entry> stat(const std::string& path, const StatOptions& options = {});

// Names but "." and "..", sorted bytewise. Errors: "open <p>: …".
Result<std::vector<std::string>> list_dir(const std::string& path);

struct WalkOptions {
    std::uint32_t depth = 1;  // 1: what is in the directory itself
    bool metadata = false;
};
// Depth first, a directory before its content, names sorted bytewise within each; the start is not visited.
// Links below the start are not followed. Entries and directories that vanish or can't be read meanwhile are
// left out. `visit` returns false to end the walk, which is no error. At most about 30 descriptors whatever
// the depth. Errors, of the start alone: "open <p>: …".
Result<> walk(const std::string& path, const WalkOptions& options, const std::function<bool(Entry&&)>& visit);

// ---- reading

struct ReadOptions {
    // The caller will read no more than some length: then devices and FIFOs may be opened, too.
    bool bounded = false;
};

struct OpenedFile {
    std::string path;
    UniqueFd fd;  // O_RDONLY | O_NONBLOCK
    Kind kind = Kind::file;
    std::uint64_t size = 0;
    // False for what has no size, or another than it says (files of /proc and /sys, devices): read to the
    // end.
    bool size_known = true;
    FileTime modified;
    std::uint64_t inode = 0;
    // FIFOs and character devices: bytes come from the other side, and have no positions.
    bool is_stream() const { return kind != Kind::file && kind != Kind::block_device; }
};

// How long writing to a FIFO or device waits for room, and how long reading from one should wait for bytes.
inline constexpr std::chrono::seconds kStreamPatience{2};

// Never blocks on a FIFO. Errors: "open <p>: …"; "read <p>: is a directory"; and, unless `bounded`,
// "open <p>: is a named pipe, …" and so on (invalid_argument), told without having opened it.
Result<OpenedFile> open_for_read(const std::string& path, const ReadOptions& options = {});

// Reads at `offset`, up to out.size() bytes; fewer near the end, 0 at the end. From a stream it takes what is
// there (EAGAIN: nothing), whatever `offset` says; wait until it is readable before, because a FIFO that
// nobody has opened for writing yet reads as ended. Errors: "read <p>: …".
Result<std::size_t> read_at(const OpenedFile& file, std::uint64_t offset, std::span<char> out);

// ---- writing

struct WriteOptions {
    bool append = false;
    std::uint64_t length = 0;    // of the content, where it is known: append reserves room for it
    std::optional<mode_t> mode;  // exactly these bits, also when the file exists; else kept, or 0644 & ~umask
    std::optional<mode_t> mode_if_new;  // exactly these bits when this call makes the file
    bool must_be_new = false;           // an existing name, a link too, is "open <p>: file exists"
    bool create_parents = false;
    std::optional<Owner> owner;  // of the file, also when it exists, and of parents that are made; else kept
    std::optional<Metadata> metadata;  // replaces what there was, as far as the file system has attributes
    // Also a new file takes its name by rename(2), by which a watch (services/watch_tree) knows it as ours
    // and tells that it was made, given to its owner and written. Else by link(2): made, and written unless
    // empty.
    bool by_rename = false;
};

struct WriteOutcome {
    std::uint64_t bytes = 0;
    bool created = false;
    bool atomic = false;  // put in place in one step
};

// Makes `source` the content of the file, in one step: the bytes go to a file without a name (or, where there
// is no O_TMPFILE, with a staging name) in the same directory, which then replaces the target. Readers see
// the old or the new content, and after an error the old one. Mode, owner, ACL and extended attributes of the
// old file are kept. A symbolic link stays and its target is written, also a missing one.
//
// In place, so not in one step, and after an error with whatever was written by then:
//  - `append`, which for want of space leaves the file as it was, where the file system can reserve `length`;
//  - a target with several names (hard links), a device, a FIFO somebody reads from, a mount point;
//  - where the directory or file system refuses staging, renaming or the old owner (EACCES, EPERM, EROFS,
//    EXDEV, EBUSY, ENOSYS, EOPNOTSUPP and the like): a new file that can't be staged appears empty and grows.
// No space is always an error, never a reason to go in place. Nothing is synced to the disk.
//
// Errors: "open <p>: …" for whatever concerns the name, "write <p>: …" for the bytes, "mkdir <parent>: …"
// with create_parents.
Result<WriteOutcome> write_file(const std::string& path, const WriteOptions& options, ByteSource& source);

// Whether write_file, copy or move made this name for a file it stages. Such names are there for moments
// only.
bool is_staging_name(std::string_view name);

struct MakeDirOptions {
    std::optional<Owner> owner;  // of the directories that are made
};
// mkdir -p, 0755 & ~umask. True when the last component was made, false when it was a directory (or a link to
// one) before. Errors: "mkdir <the component>: …": "not a directory" at a file, "file exists" at a dangling
// link.
Result<bool> make_dir(const std::string& path, const MakeDirOptions& options = {});

// ---- removing

// A link itself, never a directory. Errors: "remove <p>: …".
Result<> delete_file(const std::string& path);

// rm -rf of a directory, or of a link itself; a missing one is success. Links in it are not followed, mount
// points in it are emptied and then refused (EBUSY). Goes on after an error and reports the first. Any depth,
// with about 30 descriptors. "/" by whatever name is refused. Errors: "unlinkat <p>: not a directory" for
// other files; "RemoveAll <p>: invalid argument" for "", "." and ".." as the last component; "unlinkat
// <entry>: …", "openfdat <entry>: …", "open <parent>: …".
Result<> delete_dir(const std::string& path);

// The same for anything: a file is removed, too.
Result<> remove_all(const std::string& path);

// ---- moving and copying

struct TransferOptions {
    bool replace = true;  // an existing file at the destination may be replaced
    bool create_parents = false;
    std::optional<Owner> owner;  // of parents that are made and, by copy, of the copies; else the daemon's
};

// rename(2), so a directory replaces only an empty one, and a destination that is a directory is not a place
// to put the source into. Two names of one file become one. To another file system by copy (owner, mode,
// times and attributes kept) and removal; an error before the removal leaves the destination as it was.
// Errors: "rename <from> <to>: …".
Result<> move(const std::string& from, const std::string& to, const TransferOptions& options = {});

// A file, or a directory with all that is in it. `from` may be a link to either; links below it stay links.
// Modes are kept, owners are not. A file replaces a file as write_file does; a directory must not exist yet
// and appears whole. Sockets, FIFOs and devices are refused, and nothing is copied then. Errors: "copy <from>
// <to>: …", "copy <entry>: is a named pipe" and so on.
Result<> copy(const std::string& from, const std::string& to, const TransferOptions& options = {});

}  // namespace sandbox::files
