#include "services/process_table.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include "platform/spool.hpp"
#include "support/command_fixture.hpp"

namespace sandbox {
namespace {

class ProcessTableTest : public test::CommandTest {
  protected:
    std::shared_ptr<ManagedProcess> start(CommandSpec spec, std::string tag = "") {
        auto started = run(table_->start(std::move(spec), Dialect::koyeb, std::move(tag)));
        EXPECT_TRUE(started);
        return started ? *started : nullptr;
    }
    void wait_complete(const std::shared_ptr<ManagedProcess>& process) {
        drive_until([&] { return process->log_complete(); });
    }
    std::string log_of(const std::shared_ptr<ManagedProcess>& process) {
        std::string text;
        for (std::uint64_t next = process->log().first_id(); next < process->log().next_id();) {
            LogBatch batch = run(process->log().read(next, 1 << 20));
            EXPECT_FALSE(batch.gap);
            for (const LogRecord& record : batch.records) {
                text += record.stream == StreamId::stderr_ ? "2:" : "1:";
                text += record.text + (record.partial ? "..." : record.eol);
            }
            next = batch.next_id;
        }
        return text;
    }

    void TearDown() override {
        drive_until([this] { return environment_.commands_running == 0; });
        table_.reset();
        logs_.reset();
        spill_.reset();
        CommandTest::TearDown();
    }

    std::unique_ptr<SpillDir> spill_ = std::make_unique<SpillDir>("", "");
    std::unique_ptr<LogBudget> logs_ = std::make_unique<LogBudget>(loop_, work_pool_, *spill_);
    std::unique_ptr<ProcessTable> table_ =
        std::make_unique<ProcessTable>(environment_, *logs_, work_pool_, *spill_, 3);
};

TEST_F(ProcessTableTest, StatesTellTheTruth) {
    auto good = start(shell("exit 0"));
    auto bad = start(shell("exit 2"));
    auto shot = start(shell("ulimit -c 0; kill -KILL $$"));
    auto running = start(shell("echo up; sleep 1000"), "a-tag");
    EXPECT_EQ(running->state(), ProcessState::running);
    EXPECT_FALSE(running->end() || running->ended_at());
    for (const auto& process : {good, bad, shot}) wait_complete(process);
    EXPECT_EQ(good->state(), ProcessState::completed);
    EXPECT_EQ(bad->state(), ProcessState::failed);
    EXPECT_EQ(bad->end()->exit.status.code(), 2);
    EXPECT_EQ(shot->state(), ProcessState::failed) << "a signal from elsewhere";
    EXPECT_EQ(shot->end()->exit.status.code(), 137);
    EXPECT_GE(*shot->ended_at(), shot->started_at());
    EXPECT_EQ(running->tag(), "a-tag");
    EXPECT_EQ(table_->counts().running, 1U);
    EXPECT_EQ(table_->counts().completed, 1U);
    EXPECT_EQ(table_->counts().failed, 2U);
    table_->start_terminating_all(Milliseconds(1000));
    wait_complete(running);
    EXPECT_EQ(running->state(), ProcessState::killed);
    EXPECT_EQ(running->end()->exit.status.signal(), SIGTERM);
    EXPECT_STREQ(state_name(running->state()), "killed");
}

TEST_F(ProcessTableTest, AnExitCodeOfZeroAfterAKillIsStillKilled) {
    auto process = start(shell("trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done"));
    drive_until([&] { return process->log().lines() == 1; });
    run(process->command().terminate(Milliseconds(60'000)));
    wait_complete(process);
    EXPECT_EQ(process->state(), ProcessState::killed);
    EXPECT_EQ(process->end()->exit.status.code(), 0);
}

TEST_F(ProcessTableTest, TheLastEndedOnesAreKeptAndRunningOnesAlways) {
    auto running = start(shell("sleep 1000"));
    std::vector<std::string> ids;
    for (int i = 0; i < 6; ++i) {
        auto process = start(shell("exit " + std::to_string(i)));
        ids.push_back(process->id());
        wait_complete(process);
    }
    auto list = table_->list();
    ASSERT_EQ(list.size(), 4U);
    EXPECT_EQ(list[0], running);
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(list[i + 1]->id(), ids[i + 3]) << "in the order of their start";
        EXPECT_EQ(table_->find(ids[i]), nullptr);
        EXPECT_EQ(table_->find(ids[i + 3]), list[i + 1]);
    }
    EXPECT_EQ(table_->find("nonsense"), nullptr);
    EXPECT_EQ(table_->find(running->id()), running);
    run(running->command().terminate(Milliseconds(0)));
    wait_complete(running);
}

TEST_F(ProcessTableTest, WhatHasJustEndedIsKeptHoweverLongItRan) {
    auto first = start(shell("sleep 1000"));
    for (int i = 0; i < 6; ++i) wait_complete(start(shell("exit 0")));
    run(first->command().terminate(Milliseconds(0)));
    wait_complete(first);
    EXPECT_EQ(table_->find(first->id()), first);
    EXPECT_EQ(table_->list().size(), 3U);
}

TEST_F(ProcessTableTest, ATagIsOfWhoRunsAndElseOfTheNewest) {
    auto untagged = start(shell("sleep 1000"));
    auto running = start(shell("sleep 1000"), "job");
    auto ended = start(shell("exit 0"), "job");
    wait_complete(ended);
    drive_until([&] { return !ended->lasts(); });
    EXPECT_EQ(table_->find_tag("job"), running);
    EXPECT_EQ(table_->find_tag(""), nullptr) << "it is none, and not that of " << untagged->pid();
    for (const auto& process : {running, untagged}) {
        run(process->command().terminate(Milliseconds(0)));
        wait_complete(process);
    }
    drive_until([&] { return !running->lasts(); });
    EXPECT_EQ(table_->find_tag("job"), ended);
}

TEST_F(ProcessTableTest, WhatWasAskedForIsToldWhileItsOutputLasts) {
    const std::string large = "sleep 1000 & exit 0 #" + std::string(20'000, 'x');
    auto process = start(argv({"/bin/sh", "-c", large}));
    wait_complete(process);
    EXPECT_EQ(process->spec().args.size(), 3U);
    EXPECT_EQ(process->command_text().size(), large.size() + 11);
    run(process->command().terminate(Milliseconds(0)));
    drive_until([&] { return !process->lasts(); });
    EXPECT_EQ(process->command_text().size(), 16'387U) << "in short";
}

TEST_F(ProcessTableTest, TheLogHoldsEverythingAndIsCompleteAtTheEnd) {
    for (int i = 0; i < 20; ++i) {
        auto process = start(shell("seq 1 2000; printf '\\n\\r\\nend'"));
        wait_complete(process);
        std::string expected;
        for (int line = 1; line <= 2000; ++line) expected += "1:" + std::to_string(line) + "\n";
        ASSERT_TRUE(log_of(process) == expected + "1:\n1:\r\n1:end")
            << log_of(process).substr(expected.size());
    }
}

TEST_F(ProcessTableTest, LinesOfBothStreamsKeepTheOrderOfTheirArrival) {
    auto process = start(shell("for i in 1 2 3; do echo o$i; sleep 0.05; echo e$i >&2; sleep 0.05; done"));
    wait_complete(process);
    EXPECT_EQ(log_of(process), "1:o1\n2:e1\n1:o2\n2:e2\n1:o3\n2:e3\n");
}

TEST_F(ProcessTableTest, WhatABackgroundJobPrintsLaterIsStoredToo) {
    environment_.drain = Milliseconds(20);
    auto process = start(shell("(sleep 0.4; echo 'ter'; echo last) & printf 'hi\\nla'"));
    wait_complete(process);
    EXPECT_EQ(process->state(), ProcessState::completed);
    EXPECT_TRUE(process->end()->pipes_open);
    EXPECT_EQ(log_of(process), "1:hi\n1:la...");
    EXPECT_FALSE(process->log().closed());
    drive_until([&] { return process->log().closed(); });
    EXPECT_EQ(log_of(process), "1:hi\n1:la...1:ter\n1:last\n");
}

TEST_F(ProcessTableTest, WhatCannotStartIsNotInTheTable) {
    auto started = run(table_->start(argv({"no-such-program"}), Dialect::koyeb, ""));
    EXPECT_FALSE(started);
    EXPECT_TRUE(table_->list().empty());
    EXPECT_EQ(table_->counts().running, 0U);
}

TEST_F(ProcessTableTest, TheTextOfACommand) {
    auto by_shell = start(shell("exit 0 # a b"));
    auto by_words = start(argv({"true", "a b", "c"}));
    EXPECT_EQ(by_shell->command_text(), "exit 0 # a b");
    EXPECT_EQ(by_words->command_text(), "true a b c");
    EXPECT_NE(by_shell->id(), by_words->id());
    wait_complete(by_shell);
    wait_complete(by_words);
}

}  // namespace
}  // namespace sandbox
