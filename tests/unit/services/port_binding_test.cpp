#include "services/port_binding.hpp"

#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <string>

namespace sandbox {
namespace {

TEST(ParsePort, TakesDecimalNumbersOfThePortRange) {
    EXPECT_EQ(*parse_port("1"), 1);
    EXPECT_EQ(*parse_port("8080"), 8080);
    EXPECT_EQ(*parse_port("08080"), 8080);
    EXPECT_EQ(*parse_port("65535"), 65535);
    for (const char* bad : {"", "0", "65536", "99999", "-1", "+1", " 80", "80 ", "80\n", "abc", "http", "8.0",
                            "0x50", "99999999999999999999"}) {
        auto port = parse_port(bad);
        ASSERT_FALSE(port) << bad;
        EXPECT_EQ(port.error().code, Errc::invalid_argument);
    }
    EXPECT_FALSE(parse_port(std::string_view("80\0", 3)));
}

TEST(PortBinding, BindsOverridesAndUnbinds) {
    PortBinding binding;
    EXPECT_FALSE(binding.current());
    EXPECT_TRUE(binding.bind(8080));
    EXPECT_EQ(binding.current(), 8080);
    EXPECT_TRUE(binding.bind(9090));
    EXPECT_EQ(binding.current(), 9090);
    EXPECT_EQ(binding.unbind(), PortBinding::Unbind::done);
    EXPECT_FALSE(binding.current());
}

TEST(PortBinding, RefusesOwnPortsAndZero) {
    PortBinding binding({3030, 3031});
    ASSERT_TRUE(binding.bind(8080));
    for (std::uint16_t port : std::initializer_list<std::uint16_t>{3030, 3031, 0}) {
        auto outcome = binding.bind(port);
        ASSERT_FALSE(outcome) << port;
        EXPECT_EQ(outcome.error().code, Errc::invalid_argument);
    }
    EXPECT_EQ(binding.current(), 8080) << "a refused bind changes nothing";
}

TEST(PortBinding, UnbindOfAnotherPortIsAMismatch) {
    PortBinding binding;
    EXPECT_EQ(binding.unbind(8080), PortBinding::Unbind::done) << "nothing is bound";
    ASSERT_TRUE(binding.bind(8080));
    EXPECT_EQ(binding.unbind(9090), PortBinding::Unbind::mismatch);
    EXPECT_EQ(binding.current(), 8080);
    EXPECT_EQ(binding.unbind(8080), PortBinding::Unbind::done);
    EXPECT_FALSE(binding.current());
}

TEST(PortBinding, TellsListenersOfEveryChangeAndOfNothingElse) {
    PortBinding binding({3030});
    std::string seen;
    auto subscription = binding.on_change(
        [&] { seen += binding.current() ? std::to_string(*binding.current()) + ' ' : std::string("- "); });
    EXPECT_EQ(binding.unbind(), PortBinding::Unbind::done);
    EXPECT_TRUE(binding.bind(1));
    EXPECT_TRUE(binding.bind(1));
    EXPECT_FALSE(binding.bind(3030));
    EXPECT_EQ(binding.unbind(2), PortBinding::Unbind::mismatch);
    EXPECT_EQ(binding.unbind(), PortBinding::Unbind::done);
    EXPECT_EQ(seen, "1 1 - ");
    subscription.reset();
    EXPECT_TRUE(binding.bind(2));
    EXPECT_EQ(seen, "1 1 - ");
}

TEST(PortBinding, SubscriptionMayEndInsideItsCallAndAfterTheBinding) {
    auto binding = std::make_unique<PortBinding>();
    int first = 0;
    int second = 0;
    PortBinding::Subscription one;
    one = binding->on_change([&] {
        ++first;
        one.reset();
    });
    auto two = binding->on_change([&] { ++second; });
    EXPECT_TRUE(binding->bind(1));
    EXPECT_TRUE(binding->bind(2));
    EXPECT_EQ(first, 1);
    EXPECT_EQ(second, 2);
    binding.reset();
    two.reset();
}

}  // namespace
}  // namespace sandbox
