#pragma once

#include <utility>

namespace sandbox {

// Calls `action`, which must not throw, at the end of its scope, however that is left: also by an exception,
// and when a suspended coroutine is destroyed.
template <class Action>
class [[nodiscard]] OnExit {
  public:
    explicit OnExit(Action action) : action_(std::move(action)) {}
    ~OnExit() { action_(); }
    OnExit(const OnExit&) = delete;
    OnExit& operator=(const OnExit&) = delete;

  private:
    Action action_;
};

}  // namespace sandbox
