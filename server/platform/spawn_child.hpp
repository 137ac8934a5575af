#pragma once
// The child's side of a spawn: what runs between clone(2) and execve(2), and the clone itself. Private to
// spawn.cpp.

#include <sys/resource.h>
#include <sys/types.h>

#include <cstddef>
#include <span>

namespace sandbox {

enum class Stage : int { none, setsid, tty, stdio, rlimit, groups, gid, uid, chdir, given_up, exec };

// Shared with the child also where its memory is a copy.
struct ChildReport {
    Stage stage;
    int error;
};

// Everything that the child reads: plain data, complete before it exists.
struct ChildPlan {
    const char* program;
    char* const* argv;
    char* const* envp;
    const char* cwd;
    const int* given_up;
    int fds[4];
    char oom_text[8];  // empty: leave it
    bool new_session;
    bool controlling_tty;
    bool set_nice;
    int nice;
    bool change_user;
    uid_t uid;
    gid_t gid;
    const gid_t* groups;
    std::size_t group_count;
    rlimit nofile;
    bool set_nofile;
    volatile ChildReport* report;
};

// For a child that runs beside us.
struct Beside {
    std::span<char> stack;
    int* busy;  // becomes 0 when the child has left our memory, by execve or exit (CLONE_CHILD_CLEARTID)
};

// Alone the child runs on our stack and below it, and we are suspended until execve or exit (CLONE_VFORK).
// Beside us it has its own, and we go on at once; plan and stack are the child's until then.
// Returns the child's number or -errno. A cgroup (a directory's descriptor, or -1) that it cannot be born in
// is done without; `in_cgroup` tells.
long clone_child(const ChildPlan& plan, int cgroup_fd, const Beside* beside, bool& in_cgroup);

}  // namespace sandbox
