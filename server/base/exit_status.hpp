#pragma once
// How a process ended, from its wait status (wait(2)) and nothing else.

#include <sys/wait.h>

#include <string>
#include <string_view>

namespace sandbox {

class ExitStatus {
  public:
    explicit ExitStatus(int wait_status) : raw_(wait_status) {}

    bool exited() const { return WIFEXITED(raw_); }
    bool signaled() const { return WIFSIGNALED(raw_); }
    // The exit code, or 128 + signal number as shells report it.
    int code() const { return exited() ? WEXITSTATUS(raw_) : 128 + WTERMSIG(raw_); }
    // 0 when it was no signal.
    int signal() const { return signaled() ? WTERMSIG(raw_) : 0; }
    bool core_dumped() const { return signaled() && WCOREDUMP(raw_); }

  private:
    int raw_;
};

// "SIGKILL"; "SIGRTMIN+3"; "SIG99" for what has no name.
std::string signal_name(int signal);
// The number of "SIGTERM", "TERM", "term" or "15"; 0 when it is none.
int signal_number(std::string_view text);

}  // namespace sandbox
