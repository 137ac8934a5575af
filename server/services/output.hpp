#pragma once
// Where a command's output goes.

#include <cstdint>
#include <string_view>

#include "platform/loop.hpp"

namespace sandbox {

enum class StreamId : std::uint8_t { stdout_, stderr_, pty };

// Takes the bytes of a command's streams in the order they were read. Loop thread. The next read of that
// stream waits for the returned task: that is the back-pressure. Calls for different streams can overlap in
// time. It must take (and may drop) everything for as long as the command lives; what it throws
// ends the command (CommandEnd::output_lost).
class OutputSink {
  public:
    virtual ~OutputSink() = default;
    virtual Task<> on_output(StreamId stream, std::string_view bytes) = 0;
    // The stream has ended. Called once a stream, after its last on_output has completed.
    virtual Task<> on_end(StreamId stream) = 0;
};

}  // namespace sandbox
