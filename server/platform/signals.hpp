#pragma once
// Signals of the daemon itself. They are blocked in every thread and read from a signalfd(2) by the loop, so
// no handler ever interrupts anything. As PID 1 that also makes the kernel deliver what it would otherwise
// discard.

#include <sys/types.h>

#include <functional>
#include <memory>

#include "base/unique_fd.hpp"
#include "platform/loop.hpp"

namespace sandbox {

// First thing in main, before any thread: blocks signals, so that also SIGPIPE and those of a terminal
// (SIGTTIN, SIGTTOU, SIGTSTP) do nothing by themselves, opens standard descriptors that are closed, keeps
// inherited ones out of children, and becomes the subreaper where we are not PID 1.
void prepare_process();

// Raises the soft limit of descriptors to the hard one. Returns the original soft limit, which children get
// back.
std::uint64_t raise_descriptor_limit();

// Calls `on_signal(number, sender)` on the loop for every blocked signal that arrives, SIGCHLD included,
// SIGPIPE only when somebody else has sent it. Of a SIGCHLD the sender is a child that has ended, stopped or
// gone on, unless somebody has sent it by kill(2); 0 when there is no telling. The callback may destroy its
// source.
class SignalSource {
  public:
    using OnSignal = std::function<void(int signal, pid_t sender)>;

    SignalSource(Loop& loop, OnSignal on_signal);
    ~SignalSource();

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace sandbox
