#pragma once
// Everything below the dialects, in a jail: real pools, files, processes. No program can be found in there,
// so commands of an input do not start; one process that was started outside is there to be talked to.

#include <signal.h>
#include <sys/prctl.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "fuzz/jail.hpp"
#include "fuzz/memory_exchange.hpp"
#include "net/router.hpp"
#include "platform/signals.hpp"
#include "services/process_table.hpp"

namespace sandbox::fuzz {

// Before any thread: what the daemon does at its start, as far as libFuzzer can live with it.
inline void prepare_for_children() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
}

class Services {
  public:
    explicit Services(const Jail& jail) : jail_(jail) {}

    // The process, started anew when an input has ended it. It copies its input to its output.
    std::shared_ptr<ManagedProcess> process() {
        if (process_ && !process_->end() && process_->command().stdin_open()) return process_;
        if (process_) process_->command().start_terminating(Milliseconds(0));
        jail_.free();
        CommandSpec spec;
        spec.args = {"/bin/cat"};
        spec.stdin_mode = StdinMode::pipe;
        bool started = false;
        spawn_task(loop, "start", start(std::move(spec)), [&started] { started = true; });
        drive([&started] { return started; });
        jail_.lock();
        FUZZ_CHECK(process_ != nullptr);
        return process_;
    }

    // Hands the request to its handler and waits for the end. A handler that waits for something to happen is
    // left by the peer.
    void serve(const net::Router& router, MemoryExchange& exchange) {
        const net::Router::Match match = router.find(exchange.request().path);
        if (match.route == nullptr || !net::Router::allows(*match.route, exchange.request().method)) return;
        bool ended = false;
        spawn_task(loop, "handler", match.route->handler(exchange), [&ended] { ended = true; });
        drive([&ended] { return ended; }, &exchange);
        FUZZ_CHECK(exchange.answered() || exchange.peer_gone());
        FUZZ_CHECK(exchange.finished || exchange.peer_gone());
        loop.restart();
        loop.poll();
    }

    Loop loop{1};
    BlockingPool file_pool{loop, "files", 1, 2};
    BlockingPool spawn_pool{loop, "spawn", 1, 2};
    BlockingPool work_pool{loop, "work", 1, 2};
    SpillDir spill_dir{"/", ""};
    CommandEnvironment commands{loop, spawn_pool, work_pool, reaper_, {}};
    LogBudget logs{loop, file_pool, spill_dir};
    ProcessTable processes{commands, logs, file_pool, spill_dir, 4};

  private:
    template <class Condition>
    void drive(Condition met, MemoryExchange* exchange = nullptr) {
        using Clock = std::chrono::steady_clock;
        const auto begin = Clock::now();
        auto last = begin;
        while (!met()) {
            loop.restart();
            const bool busy = loop.run_one_for(std::chrono::milliseconds(1)) > 0;
            const auto now = Clock::now();
            if (busy) last = now;
            if (exchange != nullptr && now - last > std::chrono::milliseconds(3)) exchange->leave();
            FUZZ_CHECK(now - begin < std::chrono::seconds(8));  // a handler that does not end
        }
    }
    Task<> start(CommandSpec spec) {
        auto started = co_await processes.start(std::move(spec), Dialect::envd, "tag");
        if (started) process_ = *started;
    }

    const Jail& jail_;
    Reaper reaper_{loop};
    SignalSource signals_{loop, [this](int signal, pid_t sender) {
                              if (signal == SIGCHLD) reaper_.child_ended(sender);
                          }};
    std::shared_ptr<ManagedProcess> process_;
};

inline void replace_all(std::string& text, std::string_view token, std::string_view by) {
    for (std::size_t at = 0; (at = text.find(token, at)) != std::string::npos; at += by.size()) {
        text.replace(at, token.size(), by);
    }
}

}  // namespace sandbox::fuzz
