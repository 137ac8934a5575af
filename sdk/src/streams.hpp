#pragma once
// What the blocking streams hold.

#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "blocking.hpp"
#include "koyeb/sandbox/client.hpp"

namespace koyeb::sandbox {

// An asynchronous stream together with the context that it lives on. Its end closes a connection, so that
// takes its turn like every call.
template <class Stream>
struct Held {
    Held(std::shared_ptr<BlockingCore> owner, Stream held)
        : core(std::move(owner)), stream(std::move(held)) {}
    ~Held() {
        const auto turn = core->lock();
        stream.reset();
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

    std::shared_ptr<BlockingCore> core;
    std::optional<Stream> stream;
};

struct CommandStream::Impl : Held<AsyncCommandStream> {
    using Held::Held;

    // Input needs a turn of its own: next() holds the other one for as long as it waits.
    template <class Operation>
    void send(const Operation& operation) {
        std::call_once(input_made, [this] { input = std::make_shared<BlockingCore>(core->client().info()); });
        SendStdinRequest request;
        operation(request);
        request.id = stream->id();
        if (request.id.empty()) throw SandboxError("the command was started without open_stdin");
        input->run(input->client().send_stdin(std::move(request)));
    }

    std::once_flag input_made;
    std::shared_ptr<BlockingCore> input;
};

struct LogStream::Impl : Held<AsyncLogStream> {
    using Held::Held;
};

}  // namespace koyeb::sandbox
