#pragma once
// A cgroup (v2, cgroups(7)) for every command, where the daemon may make some: then no process of a command
// can get away from a kill, whatever it does to its session, its environment or its parents. No controllers
// are touched, so it works wherever a directory below our own cgroup can be made; in most containers the file
// system is read-only.

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"

namespace sandbox {

// One command's cgroup. Its calls are system calls on a kernel file system and do not block. Any thread, one
// at a time.
class Cgroup {
  public:
    // `watch`: the pool's own.
    Cgroup(std::string path, int watch) : path_(std::move(path)), watch_(watch) {}

    // The pool removes it as soon as it is empty. leave() says so, and tells whether that was so already.
    bool leaving() const { return leaving_; }
    bool leave();
    // For SpawnSpec::cgroup_fd; -1 when it cannot be opened.
    int fd();
    // Ended commands that are kept, and running ones that stay, must not keep descriptors.
    void close_fds();
    const std::string& path() const { return path_; }
    int watch() const { return watch_; }
    // Living processes in it and in those that the command has made below it. True where that cannot be told.
    bool populated();
    // Those in it and below it. Nothing when that could not be read; one that is gone has none.
    std::optional<std::vector<pid_t>> processes() const;
    // SIGKILL to all of them at once, also to those being forked.
    void kill() const;

  private:
    std::string path_;
    int watch_;
    bool leaving_ = false;
    UniqueFd directory_;
    UniqueFd events_;  // cgroup.events
};

// Makes and takes back cgroups. Thread-safe. Outlives the cgroups it gave.
class CgroupPool {
  public:
    static constexpr std::size_t kMostSpare = 32;  // kept for the next commands, with two descriptors each

    // Finds out whether cgroups can be had; `enabled` false: they can't. Removes what a daemon before us has
    // left.
    explicit CgroupPool(bool enabled);
    // Removes its empty cgroups.
    ~CgroupPool();
    CgroupPool(const CgroupPool&) = delete;
    CgroupPool& operator=(const CgroupPool&) = delete;

    bool available() const;
    // Null when there is none to be had.
    std::unique_ptr<Cgroup> take();
    // Keeps it for the next command, or removes it, now or when it has become empty. Only one that is empty
    // and in which nobody has changed anything is used again: what a command as root has set in it (a freeze,
    // limits) would meet the next one, and Linux 6.x kills whoever is cloned into a cgroup that was killed
    // once. Whether somebody has, inotify(7) tells; where there is none, each is used once.
    void give_back(std::unique_ptr<Cgroup> cgroup);
    // The same if nobody lives in it. Else false, and it stays the caller's.
    bool give_back_if_empty(std::unique_ptr<Cgroup>& cgroup);
    // Removes it when it has become empty; asking again is fine. The object stays of use until then: whoever
    // is left can be listed and killed.
    void remove_when_empty(Cgroup& cgroup);
    // Removes whatever is empty. For the end of the daemon.
    void clean_up();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sandbox
