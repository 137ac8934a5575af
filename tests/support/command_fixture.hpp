#pragma once
// Real commands on the test's loop, with everything that the daemon gives them.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "platform/event.hpp"
#include "platform/process_tree.hpp"
#include "services/command.hpp"
#include "support/loop_fixture.hpp"

namespace sandbox::test {

// Keeps all output. While the gate is shut, deliveries wait; let_pass() lets some through.
class Collector final : public OutputSink {
  public:
    explicit Collector(Loop& loop) : gate_(loop) {}

    Task<> on_output(StreamId stream, std::string_view bytes) override {
        ++deliveries;
        while (shut_ && passes_ == 0) co_await gate_.wait();
        if (shut_) --passes_;
        text_[static_cast<std::size_t>(stream)].append(bytes);
    }
    Task<> on_end(StreamId stream) override {
        ++ends_[static_cast<std::size_t>(stream)];
        co_return;
    }

    void shut() { shut_ = true; }
    void let_pass(int count) {
        passes_ += count;
        gate_.notify();
    }
    void open() {
        shut_ = false;
        gate_.notify();
    }

    const std::string& out() const { return text_[0]; }
    const std::string& err() const { return text_[1]; }
    const std::string& terminal() const { return text_[2]; }
    int ends(StreamId stream) const { return ends_[static_cast<std::size_t>(stream)]; }

    int deliveries = 0;

  private:
    Event gate_;
    bool shut_ = false;
    int passes_ = 0;
    std::array<std::string, 3> text_;
    std::array<int, 3> ends_{};
};

class CommandTest : public LoopTest {
  protected:
    using Started = boost::system::result<std::shared_ptr<Command>, CommandError>;

    CommandTest() {
        null_ = UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC));
        environment_.base_env = {{"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"BASE", "base"}};
        environment_.null_fd = null_.get();
        environment_.kill_grace = Milliseconds(200);
        drive_reaper();
    }

    static CommandSpec shell(std::string script) {
        CommandSpec spec;
        spec.shell_command = std::move(script);
        return spec;
    }
    static CommandSpec argv(std::vector<std::string> args) {
        CommandSpec spec;
        spec.args = std::move(args);
        return spec;
    }

    std::shared_ptr<Command> start(CommandSpec spec, std::shared_ptr<OutputSink> sink) {
        Started started = run(Command::start(environment_, std::move(spec), std::move(sink)));
        EXPECT_TRUE(started) << started.error().error.message;
        return started ? *started : nullptr;
    }
    std::shared_ptr<Command> start(CommandSpec spec) {
        sink_ = std::make_shared<Collector>(loop_);
        return start(std::move(spec), sink_);
    }
    CommandError start_failure(CommandSpec spec) {
        auto sink = std::make_shared<Collector>(loop_);
        Started started = run(Command::start(environment_, std::move(spec), sink));
        EXPECT_FALSE(started);
        return started ? CommandError{} : started.error();
    }

    // From start to end; the output is sink_'s.
    CommandEnd complete(CommandSpec spec, EndRule rule = EndRule::exit_and_drain) {
        auto command = start(std::move(spec));
        return run(command->wait(rule));
    }
    std::string output_of(CommandSpec spec) {
        complete(std::move(spec), EndRule::exit_and_eof);
        return sink_->out();
    }

    // Ends what a test has left running.
    KillOutcome end(const std::shared_ptr<Command>& command) {
        KillOutcome outcome = run(command->terminate(Milliseconds(0)));
        run(command->wait(EndRule::exit_and_eof));
        return outcome;
    }

    void TearDown() override {
        if (HasFailure()) signal_descendants(SIGKILL, 0);
        null_.reset();
        LoopTest::TearDown();
        EXPECT_EQ(environment_.commands_running, 0U);
    }

    UniqueFd null_;
    BlockingPool spawn_pool_{loop_, "spawn", 2, 8};
    BlockingPool work_pool_{loop_, "work", 2, 4};
    CommandEnvironment environment_{loop_, spawn_pool_, work_pool_, reaper_, {}};
    std::shared_ptr<Collector> sink_;
};

}  // namespace sandbox::test
