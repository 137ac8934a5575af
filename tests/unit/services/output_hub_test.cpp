#include "services/output_hub.hpp"

#include <gtest/gtest.h>

#include "support/loop_fixture.hpp"

namespace sandbox {
namespace {

using std::chrono::milliseconds;

class OutputHubTest : public test::LoopTest {
  protected:
    void TearDown() override {
        spill_.reset();
        LoopTest::TearDown();
    }

    std::shared_ptr<OutputHub> make(bool with_spill = true) {
        return std::make_shared<OutputHub>(loop_, pool_, with_spill ? spill_.get() : nullptr);
    }

    std::string take_all(Subscription& subscription) {
        std::string text;
        for (;;) {
            std::vector<OutputPiece> pieces = run(subscription.take(1024 * 1024));
            if (pieces.empty()) return text;
            for (const OutputPiece& piece : pieces) text += *piece.bytes;
        }
    }

    void publish_in_background(std::shared_ptr<OutputHub> hub, std::size_t pieces, std::size_t size) {
        published_ = 0;
        spawn_task(loop_, "publisher", publish(std::move(hub), pieces, size, &published_));
    }
    static Task<> publish(std::shared_ptr<OutputHub> hub, std::size_t pieces, std::size_t size,
                          std::size_t* published) {
        for (std::size_t i = 0; i < pieces; ++i) {
            std::string bytes(size, static_cast<char>('a' + i % 26));
            co_await hub->publish(StreamId::stdout_, bytes);
            ++*published;
        }
        hub->end();
    }

    BlockingPool pool_{loop_, "test", 1, 2};
    std::unique_ptr<SpillDir> spill_ = std::make_unique<SpillDir>("", "");
    std::size_t published_ = 0;
};

TEST_F(OutputHubTest, EveryoneGetsWhatComesAfterHisSubscription) {
    auto hub = make();
    run(hub->publish(StreamId::stdout_, "nobody "));
    auto first = hub->subscribe();
    run(hub->publish(StreamId::stdout_, "one "));
    auto second = hub->subscribe();
    run(hub->publish(StreamId::stderr_, "two"));
    EXPECT_FALSE(first->ended());
    hub->end();
    EXPECT_FALSE(first->ended()) << "there is something to take yet";
    EXPECT_EQ(take_all(*first), "one two");
    EXPECT_EQ(take_all(*second), "two");
    EXPECT_TRUE(first->ended() && second->ended());
    auto late = hub->subscribe();
    EXPECT_TRUE(late->ended());
    EXPECT_TRUE(run(late->wait_for(milliseconds(60'000)))) << "nothing to wait for";
}

TEST_F(OutputHubTest, AnOnlyReaderSetsThePace) {
    auto hub = make();
    auto reader = hub->subscribe();
    publish_in_background(hub, 100, 64 * 1024);
    drive_for(milliseconds(50));
    EXPECT_EQ(published_, OutputHub::kPace / (64 * 1024) - 1) << "the last one still waits";
    std::string text;
    drive_until([&] {
        text += take_all(*reader);
        return reader->ended();
    });
    EXPECT_EQ(text.size(), 100U * 64 * 1024);
    EXPECT_EQ(published_, 100U);
}

TEST_F(OutputHubTest, AReaderThatIsGoneHoldsNothing) {
    auto hub = make();
    auto reader = hub->subscribe();
    publish_in_background(hub, 100, 64 * 1024);
    drive_for(milliseconds(20));
    EXPECT_LT(published_, 100U);
    reader.reset();
    drive_until([&] { return published_ == 100; });
}

TEST_F(OutputHubTest, ASlowOneHoldsUpNobodyAndGetsEverythingInOrder) {
    auto hub = make();
    auto fast = hub->subscribe();
    auto slow = hub->subscribe();
    publish_in_background(hub, 200, 64 * 1024);
    std::string text;
    drive_until([&] {
        text += take_all(*fast);
        return fast->ended();
    });
    EXPECT_FALSE(slow->ended());
    EXPECT_EQ(take_all(*slow), text);
    EXPECT_TRUE(slow->ended());
    EXPECT_FALSE(slow->cut_off());
}

TEST_F(OutputHubTest, WithoutAFileItIsCutOffAndKnows) {
    auto hub = make(false);
    auto fast = hub->subscribe();
    auto slow = hub->subscribe();
    publish_in_background(hub, 100, 64 * 1024);
    drive_until([&] {
        take_all(*fast);
        return fast->ended();
    });
    EXPECT_FALSE(slow->cut_off()) << "there is something to take yet";
    EXPECT_EQ(take_all(*slow).size(), OutputHub::kMemory);
    EXPECT_TRUE(slow->cut_off());
    EXPECT_FALSE(slow->ended());
}

TEST_F(OutputHubTest, WakingEndsAWaitOnce) {
    auto hub = make();
    auto reader = hub->subscribe();
    reader->wake();
    EXPECT_TRUE(run(reader->wait_for(milliseconds(60'000))));
    EXPECT_FALSE(run(reader->wait_for(milliseconds(1))));
}

}  // namespace
}  // namespace sandbox
