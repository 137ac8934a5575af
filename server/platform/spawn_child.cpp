#include "platform/spawn_child.hpp"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace sandbox {
namespace {

#if defined(__SANITIZE_THREAD__)
// ThreadSanitizer's runtime state must not be shared with a child, so it gets its own copy of the memory.
constexpr unsigned long kShareMemory = 0;
#else
constexpr unsigned long kShareMemory = CLONE_VM;
#endif

// Signals that we ignore and a command must not (see platform/signals). Handlers are reset by execve itself.
constexpr int kResetSignals[] = {SIGPIPE, SIGTTIN, SIGTTOU, SIGTSTP, SIGHUP, SIGINT, SIGQUIT, SIGCHLD};

// The kernel's own struct sigaction, for rt_sigaction(2) without libc.
struct KernelSigaction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)();
    unsigned long mask;
};

#define SANDBOX_RAW [[gnu::noinline]] __attribute__((no_sanitize("address", "thread", "undefined")))

// Async-signal-safe, allocation-free and without libc wrappers that keep state: in the usual mode this runs
// in our own memory while the parent's thread is suspended.
SANDBOX_RAW long raw(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
#else
#error "spawn: the clone entry is written for x86-64 and arm64"
#endif
}

template <class T>
SANDBOX_RAW long address(T* pointer) {
    return static_cast<long>(reinterpret_cast<std::uintptr_t>(pointer));
}

[[noreturn]] SANDBOX_RAW void fail(const ChildPlan& plan, Stage stage, long negative_errno) {
    plan.report->stage = stage;
    plan.report->error = static_cast<int>(-negative_errno);
    for (;;) raw(SYS_exit_group, 127);
}

SANDBOX_RAW void raise_oom_score(const ChildPlan& plan) {
    static constexpr char kPath[] = "/proc/self/oom_score_adj";
    long fd = raw(SYS_openat, AT_FDCWD, address(kPath), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    long length = 0;
    while (plan.oom_text[length] != '\0') ++length;
    raw(SYS_write, fd, address(plan.oom_text), length);
    raw(SYS_close, fd);
}

// Moves the four sources onto 0..3. One that is a target itself, though not its own, moves out of the way
// first.
SANDBOX_RAW void place_descriptors(const ChildPlan& plan) {
    int sources[4];
    for (int target = 0; target < 4; ++target) {
        sources[target] = plan.fds[target];
        if (sources[target] < 0 || sources[target] > 3 || sources[target] == target) continue;
        long moved = raw(SYS_fcntl, sources[target], F_DUPFD_CLOEXEC, 4);
        if (moved < 0) fail(plan, Stage::stdio, moved);
        sources[target] = static_cast<int>(moved);
    }
    for (int target = 0; target < 4; ++target) {
        int source = sources[target];
        if (source < 0) continue;
        long result =
            source == target ? raw(SYS_fcntl, source, F_SETFD, 0) : raw(SYS_dup3, source, target, 0);
        if (result < 0) fail(plan, Stage::stdio, result);
    }
    int first_closed = plan.fds[3] >= 0 ? 4 : 3;
#ifdef SYS_close_range
    if (raw(SYS_close_range, first_closed, ~0U, 0) == 0) return;
#endif
    // An old kernel: all of ours are close-on-exec anyway.
}

[[noreturn]] SANDBOX_RAW void run_child(const ChildPlan& plan) {
    KernelSigaction dispose{};
    dispose.handler = SIG_DFL;
    for (int signal : kResetSignals) raw(SYS_rt_sigaction, signal, address(&dispose), 0, 8);

    // First of all: while we hold copies of the daemon's descriptors none of its connections closes and no
    // pipe of another command ends, and what follows can take long (a directory on a hung file system).
    place_descriptors(plan);

    long result = 0;
    if (plan.new_session && (result = raw(SYS_setsid)) < 0) fail(plan, Stage::setsid, result);
    if (plan.controlling_tty && (result = raw(SYS_ioctl, 0, TIOCSCTTY, 0)) < 0)
        fail(plan, Stage::tty, result);
    if (plan.oom_text[0] != '\0') raise_oom_score(plan);
    if (plan.set_nice) raw(SYS_setpriority, PRIO_PROCESS, 0, plan.nice);
    if (plan.set_nofile && (result = raw(SYS_prlimit64, 0, RLIMIT_NOFILE, address(&plan.nofile), 0)) < 0) {
        fail(plan, Stage::rlimit, result);
    }
    if (plan.change_user) {
        result = raw(SYS_setgroups, static_cast<long>(plan.group_count), address(plan.groups));
        if (result < 0) fail(plan, Stage::groups, result);
        if ((result = raw(SYS_setresgid, plan.gid, plan.gid, plan.gid)) < 0) fail(plan, Stage::gid, result);
        if ((result = raw(SYS_setresuid, plan.uid, plan.uid, plan.uid)) < 0) fail(plan, Stage::uid, result);
    }
    if (plan.cwd != nullptr && (result = raw(SYS_chdir, address(plan.cwd))) < 0)
        fail(plan, Stage::chdir, result);
    if (plan.given_up != nullptr && __atomic_load_n(plan.given_up, __ATOMIC_ACQUIRE) != 0)
        fail(plan, Stage::given_up, -ECANCELED);

    unsigned long no_signals = 0;
    raw(SYS_rt_sigprocmask, SIG_SETMASK, address(&no_signals), 0, 8);
    result = raw(SYS_execve, address(plan.program), address(plan.argv), address(plan.envp));
    fail(plan, Stage::exec, result);
}

// What the child runs, on whichever stack it is.
[[noreturn]] SANDBOX_RAW void child_entry(const ChildPlan* plan) { run_child(*plan); }

// The system call `number`, clone(2) or clone3(2). Returns in the parent only: the child calls child_entry()
// before anything of this frame is touched, on the stack that the call has given it.
SANDBOX_RAW long clone_call(long number, long a, long b, long child_tid, const ChildPlan& plan) {
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = child_tid;
    register long r8 __asm__("r8") = 0;
    register const ChildPlan* argument __asm__("r12") = &plan;
    register void (*entry)(const ChildPlan*) __asm__("r13") = &child_entry;
    __asm__ volatile(
        "syscall\n\t"
        "test %%rax, %%rax\n\t"
        "jnz 1f\n\t"
        "xor %%ebp, %%ebp\n\t"
        "sub $128, %%rsp\n\t"  // On our stack: past the red zone of this frame.
        "and $-16, %%rsp\n\t"
        "mov %%r12, %%rdi\n\t"
        "call *%%r13\n\t"
        "ud2\n"
        "1:"
        : "=a"(result)
        : "a"(number), "D"(a), "S"(b), "d"(0L), "r"(r10), "r"(r8), "r"(argument), "r"(entry)
        : "rcx", "r11", "memory");
    return result;
#else
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = 0;
    register long x3 __asm__("x3") = 0;
    register long x4 __asm__("x4") = child_tid;
    register const ChildPlan* argument __asm__("x19") = &plan;
    register void (*entry)(const ChildPlan*) __asm__("x20") = &child_entry;
    __asm__ volatile(
        "svc 0\n\t"
        "cbnz x0, 1f\n\t"
        "mov x29, xzr\n\t"
        "mov x0, x19\n\t"
        "blr x20\n\t"
        "brk 0\n"
        "1:"
        : "+r"(x0)
        : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(argument), "r"(entry)
        : "x30", "memory");
    return x0;
#endif
}

SANDBOX_RAW long clone_with_signals_blocked(const ChildPlan& plan, int cgroup_fd, const Beside* beside,
                                            bool& in_cgroup) {
    const unsigned long flags =
        kShareMemory | (beside == nullptr ? CLONE_VFORK : static_cast<unsigned long>(CLONE_CHILD_CLEARTID));
    const long busy = beside == nullptr ? 0 : address(beside->busy);
    if (cgroup_fd >= 0) {
        clone_args arguments{};
        arguments.flags = flags | CLONE_INTO_CGROUP;
        arguments.exit_signal = SIGCHLD;
        arguments.cgroup = static_cast<unsigned>(cgroup_fd);
        arguments.child_tid = static_cast<__u64>(busy);
        if (beside != nullptr) {
            arguments.stack = static_cast<__u64>(address(beside->stack.data()));
            arguments.stack_size = beside->stack.size();
        }
        long result = clone_call(SYS_clone3, address(&arguments), sizeof arguments, 0, plan);
        in_cgroup = result > 0;
        if (in_cgroup) return result;
        // Refused (seccomp, an old kernel, a cgroup that is gone): born in ours instead.
    }
    const long top = beside == nullptr ? 0 : address(beside->stack.data() + beside->stack.size());
    return clone_call(SYS_clone, static_cast<long>(flags | SIGCHLD), top, busy, plan);
}

}  // namespace

long clone_child(const ChildPlan& plan, int cgroup_fd, const Beside* beside, bool& in_cgroup) {
    in_cgroup = false;
    // A signal handler must not run in the child while it shares our memory.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    long pid = clone_with_signals_blocked(plan, cgroup_fd, beside, in_cgroup);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return pid;
}

}  // namespace sandbox
