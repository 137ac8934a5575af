#include "services/port_binding.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/number.hpp"

namespace sandbox {

Result<std::uint16_t> parse_port(std::string_view text) {
    const auto port = parse_number<std::uint16_t>(text);
    if (!port || *port == 0)
        return Error{Errc::invalid_argument, "Invalid port: must be a number from 1 to 65535"};
    return *port;
}

PortBinding::PortBinding(std::vector<std::uint16_t> own_ports) : own_ports_(std::move(own_ports)) {}

Result<> PortBinding::bind(std::uint16_t port) {
    if (port == 0) return Error{Errc::invalid_argument, "Invalid port: must be a number from 1 to 65535"};
    if (std::find(own_ports_.begin(), own_ports_.end(), port) != own_ports_.end()) {
        return Error{Errc::invalid_argument,
                     "Invalid port: " + std::to_string(port) + " belongs to the sandbox itself"};
    }
    current_ = port;
    changed();
    return {};
}

PortBinding::Unbind PortBinding::unbind(std::optional<std::uint16_t> expected) {
    if (!current_) return Unbind::done;
    if (expected && *expected != *current_) return Unbind::mismatch;
    current_.reset();
    changed();
    return Unbind::done;
}

PortBinding::Subscription PortBinding::on_change(std::function<void()> listener) {
    auto subscription = std::make_shared<std::function<void()>>(std::move(listener));
    listeners_.push_back(subscription);
    return subscription;
}

void PortBinding::changed() {
    for (auto it = listeners_.begin(); it != listeners_.end();) {
        // Holding it keeps the callable alive should it drop its own subscription.
        if (auto listener = it->lock()) {
            (*listener)();
            ++it;
        } else {
            it = listeners_.erase(it);
        }
    }
}

}  // namespace sandbox
