#pragma once
// Making a child process. Nothing else in the program does.
//
// The child is a vfork-like clone(2): page tables are not copied, so the cost does not grow with our memory,
// and between clone and execve it runs raw system calls on data laid out beforehand. posix_spawn(3) cannot
// set resource limits, user ids, the OOM score or a cgroup, and a helper program that does would cost a
// second execve a command.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace sandbox {

struct Credentials {
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<gid_t> groups;  // supplementary groups
};

// What we have changed for ourselves and commands get back as we had it.
struct Originals {
    std::uint64_t nofile_soft = 0;  // RLIMIT_NOFILE soft limit; 0: unchanged
    std::optional<int> nice;        // absent: unchanged
};

struct SpawnSpec {
    std::string program;            // path of the executable; relative to `cwd`
    std::vector<std::string> argv;  // argv[0] included
    std::vector<std::string> env;   // "KEY=VALUE"
    std::string cwd;                // empty: ours
    int stdin_fd = 0;               // what becomes descriptors 0, 1, 2: borrowed, any may repeat
    int stdout_fd = 1;
    int stderr_fd = 2;
    int extra_fd = -1;                // becomes descriptor 3 when given; everything else is closed
    bool new_session = true;          // setsid(2); false: stays in our session and process group
    bool controlling_tty = false;     // stdin_fd is a terminal that becomes the session's own
    std::optional<Credentials> user;  // absent: ours
    std::uint64_t nofile_soft = 0;    // RLIMIT_NOFILE soft limit for the child; 0: ours
    std::optional<int> nice;          // its nice value; absent: ours. Best effort
    int oom_score_adj = 0;            // written when not 0, best effort
    int cgroup_fd = -1;  // a cgroup v2 directory to be born in (clone3 CLONE_INTO_CGROUP), best effort
    // Set to other than 0, by any thread and atomically, it keeps the child from executing the program: for
    // one that hangs in chdir(2). Null: none. spawn() only, and best effort.
    const int* given_up = nullptr;
};

// Blocks until the child has executed the program or failed to. On success the child exists and its end is
// the Reaper's. On failure nothing is left behind, and the error names stage and errno: "chdir /x: permission
// denied", "exec /bin/x: argument list too long". `in_cgroup` (may be null) becomes whether the child was
// born in the spec's cgroup. Any thread.
Result<pid_t> spawn(const SpawnSpec& spec, bool* in_cgroup = nullptr);

// Starts children without waiting for their execve: for a thread that must not block. Whatever looks up a
// path (chdir, execve) is done by the child in its own time, on memory that is its own until then; the
// caller's part is clone(2). One thread.
class Launcher {
  public:
    Launcher();
    ~Launcher();
    Launcher(const Launcher&) = delete;
    Launcher& operator=(const Launcher&) = delete;

    // The child exists, and may yet fail to execute the program: then it ends with code 127, and ended()
    // tells why. Its end is the Reaper's. The spec's oom_score_adj must be 0: see
    // set_oom_score_of_executed(). `in_cgroup` as of spawn().
    Result<pid_t> launch(SpawnSpec spec, bool* in_cgroup = nullptr);
    // For every launched child once it has been reaped. What kept it from executing the program, as spawn()
    // would have told it.
    std::optional<Error> ended(pid_t pid);

  private:
    struct Launch;
    Launch* take();
    void recycle(Launch* launch);
    static void destroy(Launch* launch);
    std::vector<Launch*> under_way_;
    std::vector<Launch*> spare_;
};

// Writes a child's oom_score_adj, once it has executed its program. False, and nothing is written, while it
// has not: a launched one, which shares our memory, would share the value, too. False also where it could not
// be written. Any thread; the child must not have been reaped.
bool set_oom_score_of_executed(pid_t child, int score);

// execvp(3)'s search: `name` with a slash is taken as it is, else the first executable regular file in the
// directories of `path` (relative ones are relative to `cwd`). Blocks. not_found or permission_denied when
// there is none.
Result<std::string> find_program(const std::string& name, const std::string& path, const std::string& cwd);

}  // namespace sandbox
