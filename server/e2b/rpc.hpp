#pragma once
// Calls of the Connect protocol over an Exchange: unary ones, and those that answer with a stream.

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "e2b/connect_error.hpp"
#include "e2b/context.hpp"
#include "e2b/message.hpp"
#include "net/exchange.hpp"

namespace sandbox::e2b {

inline constexpr std::size_t kMaxMessage = std::size_t{64} << 20U;

struct UnaryCall {
    Context& context;
    const net::Request& http;
    // A handler may reset it once read, so that a long wait does not keep the request in memory.
    std::unique_ptr<Message> message;
};
// Returns the answer's JSON. The call lives as long as the task.
using UnaryHandler = Task<Reply<std::string>> (*)(UnaryCall& call);

// Reads the request, runs the handler and answers.
Task<> serve_unary(net::Exchange& exchange, Context& context, UnaryHandler handler);

struct StreamRequest {
    std::unique_ptr<Message> message;
    std::optional<std::chrono::milliseconds> timeout;  // of the whole stream
    std::chrono::milliseconds keepalive{90'000};       // a message whenever nothing was sent for so long
};
// Reads the one message of a call that answers with a stream. Null: an error has been answered.
Task<std::unique_ptr<StreamRequest>> read_stream_request(net::Exchange& exchange, Context& context);

// The whole body as one message; resource_exhausted past kMaxMessage. Its text is wiped, as it may hold a
// token.
Task<Reply<std::unique_ptr<Message>>> read_message(net::Exchange& exchange);

// 415 unless the request has this content type (parameters aside). False: answered.
Task<bool> check_content_type(net::Exchange& exchange, std::string_view wanted);
// What is the same for all calls: the protocol's version, no compression, and a user who exists if one is
// named.
Task<std::optional<ConnectError>> check_call(const net::Request& request, Context& context);

// The head of a streamed answer.
Task<bool> begin_stream(net::Exchange& exchange);
// The end of the stream, successful or not, behind what is in `last`; begins it where that is still to be
// done.
Task<> end_stream(net::Exchange& exchange, std::optional<ConnectError> error, std::string last = {});

}  // namespace sandbox::e2b
