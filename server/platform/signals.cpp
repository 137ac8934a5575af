#include "platform/signals.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <cstdint>
#include <exception>

#include "base/log.hpp"

namespace sandbox {
namespace {

// Faults of our own must kill us at once, and SIGKILL and SIGSTOP cannot be blocked.
sigset_t handled_signals() {
    sigset_t set;
    sigfillset(&set);
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS}) sigdelset(&set, fault);
    return set;
}

// splice(2) and write(2) tell of a reader that is gone by this signal, too. The kernel names us as its
// sender.
bool is_own_broken_pipe(const signalfd_siginfo& info) {
    return info.ssi_signo == SIGPIPE && info.ssi_pid == static_cast<std::uint32_t>(::getpid());
}

}  // namespace

void prepare_process() {
    struct sigaction action {};
    sigemptyset(&action.sa_mask);
    action.sa_handler = SIG_DFL;
    for (int inherited : {SIGHUP, SIGINT, SIGQUIT, SIGCHLD, SIGTERM}) sigaction(inherited, &action, nullptr);
    action.sa_handler = SIG_IGN;
    for (int ignored : {SIGPIPE, SIGTTIN, SIGTTOU, SIGTSTP}) sigaction(ignored, &action, nullptr);
    sigset_t set = handled_signals();
    pthread_sigmask(SIG_SETMASK, &set, nullptr);

    for (int fd = 0; fd <= 2; ++fd) {
        if (::fcntl(fd, F_GETFD) < 0) ::open("/dev/null", O_RDWR);  // Takes the lowest free number: this one.
    }
    // Descriptor 3 is where a spawned shell may get its script; nothing of ours may have that number.
    int reserved = ::fcntl(3, F_GETFD);
    if (reserved < 0) {
        int placeholder = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (placeholder > 3) {
            ::dup3(placeholder, 3, O_CLOEXEC);
            ::close(placeholder);
        }
    }
#ifdef SYS_close_range
    constexpr unsigned kCloexec = 1U << 2;  // CLOSE_RANGE_CLOEXEC
    if (::syscall(SYS_close_range, 3U, ~0U, kCloexec) != 0)
#endif
    {
        for (int fd = 3; fd < 4096; ++fd) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    if (::getpid() != 1) ::prctl(PR_SET_CHILD_SUBREAPER, 1);
}

std::uint64_t raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    rlim_t original = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    return original;
}

struct SignalSource::Impl : std::enable_shared_from_this<SignalSource::Impl> {
    Impl(Loop& loop, OnSignal callback) : descriptor(loop), on_signal(std::move(callback)) {
        sigset_t set = handled_signals();
        descriptor.assign(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    }

    void wait() {
        using boost::asio::posix::descriptor_base;
        descriptor.async_wait(
            descriptor_base::wait_read, [self = shared_from_this()](boost::system::error_code ec) {
                if (ec || !self->on_signal) return;
                // A copy: the callback may end its own source.
                const OnSignal callback = self->on_signal;
                std::array<signalfd_siginfo, 16> infos;
                ssize_t bytes;
                while ((bytes = ::read(self->descriptor.native_handle(), infos.data(), sizeof infos)) > 0) {
                    auto count = static_cast<std::size_t>(bytes) / sizeof(signalfd_siginfo);
                    for (std::size_t i = 0; i < count && self->on_signal; ++i) {
                        if (is_own_broken_pipe(infos[i])) continue;
                        const auto signal = static_cast<int>(infos[i].ssi_signo);
                        try {
                            callback(signal, static_cast<pid_t>(infos[i].ssi_pid));
                        } catch (const std::exception& error) {  // Out of memory. More will come.
                            log::error("signal not handled", {{"signal", signal}, {"error", error.what()}});
                        }
                    }
                    if (!self->on_signal) return;
                    if (count < infos.size()) break;  // That was all; more would wake us again.
                }
                self->wait();
            });
    }

    boost::asio::posix::basic_stream_descriptor<Executor> descriptor;
    OnSignal on_signal;
};

SignalSource::SignalSource(Loop& loop, OnSignal on_signal)
    : impl_(std::make_shared<Impl>(loop, std::move(on_signal))) {
    impl_->wait();
}

SignalSource::~SignalSource() {
    impl_->on_signal = nullptr;
    boost::system::error_code ignored;
    impl_->descriptor.close(ignored);
}

}  // namespace sandbox
