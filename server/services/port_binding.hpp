#pragma once
// Which local port the forwarder serves: at most one at a time, chosen by the API.

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace sandbox {

// Decimal digits naming 1..65535, nothing before or after them. Error: invalid_argument, "Invalid port: …".
Result<std::uint16_t> parse_port(std::string_view text);

// Loop thread. Every change makes a new binding, also one to the same port, and tells the listeners.
class PortBinding {
  public:
    // `own_ports` are the daemon's: forwarding to one of them could feed the forwarder with itself.
    explicit PortBinding(std::vector<std::uint16_t> own_ports = {});
    PortBinding(const PortBinding&) = delete;
    PortBinding& operator=(const PortBinding&) = delete;

    // Replaces whatever was bound. Error: invalid_argument for 0 and for the daemon's own ports; nothing
    // changes then.
    Result<> bind(std::uint16_t port);

    enum class Unbind { done, mismatch };
    // `expected` given and not what is bound: mismatch, and nothing changes; current() tells what is bound.
    // With nothing bound every unbind is done.
    Unbind unbind(std::optional<std::uint16_t> expected = std::nullopt);

    std::optional<std::uint16_t> current() const { return current_; }

    // `listener` is called after each change, when current() is the new state already, until the returned
    // handle is destroyed. The handle may outlive this object, and may be destroyed from within a call.
    using Subscription = std::shared_ptr<void>;
    [[nodiscard]] Subscription on_change(std::function<void()> listener);

  private:
    void changed();

    std::vector<std::uint16_t> own_ports_;
    std::optional<std::uint16_t> current_;
    std::list<std::weak_ptr<std::function<void()>>> listeners_;
};

}  // namespace sandbox
