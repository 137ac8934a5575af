// The client library behind a proxy that cuts the daemon's answers at every byte: a call either returns what
// is true or throws; it never takes a part for the whole.

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <koyeb/sandbox/client.hpp>
#include <koyeb/sandbox/errors.hpp>
#include <thread>

#include "census.hpp"
#include "cutter.hpp"

namespace sandbox::chaos {
namespace {

namespace sdk = ::koyeb::sandbox;

// A TCP proxy in front of the daemon, for one connection after the other.
class Gate {
  public:
    explicit Gate(int daemon_port) : daemon_port_(daemon_port), thread_([this] { serve(); }) {}
    ~Gate() {
        stop_ = true;
        listener_.stop();
        thread_.join();
    }
    std::string url() const { return "http://127.0.0.1:" + std::to_string(listener_.port()); }

    // The next connection passes on so many bytes of what the daemon says; those after it pass on everything.
    void cut_at(std::size_t bytes, Fault fault) {
        fault_ = fault;
        limit_ = bytes;
    }
    // What the last connection has passed on.
    std::size_t passed() const { return passed_; }

  private:
    void serve() {
        for (;;) {
            Line client = listener_.accept();
            if (stop_) return;
            if (client) relay(std::move(client), Line::connect(daemon_port_), limit_.exchange(kAll));
        }
    }
    void relay(Line client, Line daemon, std::size_t limit) {
        passed_ = 0;
        for (;;) {
            pollfd ready[2] = {{client.fd(), POLLIN, 0}, {daemon.fd(), POLLIN, 0}};
            if (passed_ < limit && ::poll(ready, 2, 30'000) <= 0) return;
            std::string bytes;
            if (passed_ >= limit) {
                if (fault_ == Fault::reset) client.reset();
                return;
            }
            if (ready[0].revents != 0) {
                if (client.receive(bytes) != Line::End::none || !daemon.send(bytes)) return;
            } else if (ready[1].revents != 0) {
                const std::size_t room = std::min<std::size_t>(limit - passed_, 65536);
                if (daemon.receive(bytes, fault_ == Fault::pause ? 1 : room) != Line::End::none) return;
                passed_ += bytes.size();  // first: the client may be done before we go on
                if (!client.send(bytes)) return;
            }
        }
    }

    static constexpr std::size_t kAll = std::size_t{1} << 40U;
    const int daemon_port_;
    Listener listener_;
    std::atomic<bool> stop_ = false;
    std::atomic<std::size_t> limit_ = kAll;
    std::atomic<std::size_t> passed_ = 0;
    std::atomic<Fault> fault_ = Fault::close;
    std::thread thread_;
};

class SdkCutTest : public testing::Test {
  protected:
    SdkCutTest() {
        std::ofstream(directory_ / "file") << "the content\n";
        info_.url = gate_.url();
        info_.secret = "s";
    }
    ~SdkCutTest() override { std::printf("%zu cuts\n", cuts_); }

    // `call` returns a text, which is `expected` whenever it returns at all; and with all bytes there it
    // does. `slack`: by so many bytes a whole answer may be shorter than the first one.
    template <class Call>
    void cut(const std::string& name, const std::string& expected, Call call, std::size_t slack = 10) {
        SCOPED_TRACE(name);
        {
            sdk::Client client(info_);
            ASSERT_EQ(call(client), expected);
        }
        const std::size_t whole = gate_.passed();
        ASSERT_GT(whole, 0U);
        const std::size_t stride = is_slow() ? 7 : 1;
        for (const Fault fault : {Fault::close, Fault::reset}) {
            for (std::size_t at = 0; at < whole; at += stride) {
                gate_.cut_at(at, fault);
                ++cuts_;
                sdk::Client client(info_);
                try {
                    ASSERT_EQ(call(client), expected) << "cut at byte " << at << " of " << whole;
                    ASSERT_GT(at + slack, whole) << "returned with byte " << at << " missing";
                } catch (const sdk::SandboxError&) {
                }
            }
        }
        gate_.cut_at(whole + 1000, Fault::pause);
        sdk::Client client(info_);
        EXPECT_EQ(call(client), expected) << "byte by byte";
    }

    e2e::Daemon daemon_{{{"SANDBOX_SECRET", "s"}}};
    e2e::Folder directory_;
    Gate gate_{daemon_.port()};
    sdk::ConnectionInfo info_;
    std::size_t cuts_ = 0;
};

TEST_F(SdkCutTest, Answers) {
    cut("health", "ok", [](sdk::Client& client) { return client.health().status; });
    cut("run", "a\nb\n3", [](sdk::Client& client) {
        sdk::RunRequest request;
        request.cmd = "echo a; echo b >&2; exit 3";
        const sdk::RunResponse response = client.run(request);
        return response.stdout_data + response.stderr_data + std::to_string(response.end.exit_code);
    });
    cut("read_file", "the content\n", [this](sdk::Client& client) {
        sdk::ReadFileRequest request;
        request.path = directory_ / "file";
        return client.read_file(request).content;
    });
    cut("write_file", "", [this](sdk::Client& client) {
        sdk::WriteFileRequest request;
        request.path = directory_ / "new";
        request.content = "new";
        client.write_file(request);
        return std::string();
    });
    cut("list_dir", "filenew", [this](sdk::Client& client) {
        std::string names;
        for (const std::string& name : client.list_dir(directory_.path())) names += name;
        return names;
    });
    cut("stat", "12",
        [this](sdk::Client& client) { return std::to_string(client.stat(directory_ / "file").size); });
    cut("start_process", "running", [](sdk::Client& client) {
        sdk::StartProcessRequest request;
        request.cmd = ":";
        return client.start_process(request).status;
    });
}

// A stream that breaks throws, after what came before; its end is told only when it is known.
TEST_F(SdkCutTest, RunStreaming) {
    const std::string wanted = "one\ntwo\nthree\n";
    // What is written together shares a chunk of HTTP: up to three of them are spared, 7 bytes each.
    const std::size_t slack = 10 + 3 * 7;
    cut(
        "run_streaming", wanted + "5",
        [&wanted](sdk::Client& client) {
            sdk::RunRequest request;
            request.cmd = "echo one; echo two; echo three; exit 5";
            sdk::CommandStream stream = client.run_streaming(request);
            std::string output;
            while (auto event = stream.next()) {
                output += event->data;
                EXPECT_TRUE(wanted.starts_with(output)) << output;
            }
            return output + std::to_string(stream.end().exit_code);
        },
        slack);
}

// The log goes on where it broke: every line once.
TEST_F(SdkCutTest, LogsGoOn) {
    sdk::Client starter(daemon_.info("s"));
    sdk::StartProcessRequest request;
    request.cmd = "echo one; echo two; echo three; printf four";
    sdk::LogsRequest logs;
    logs.id = starter.start_process(request).id;
    const auto read = [&](sdk::Client& client) {
        std::string output;
        sdk::LogStream stream = client.process_logs(logs);
        while (auto event = stream.next()) output += event->data;
        return output;
    };
    const std::string wanted = "one\ntwo\nthree\nfour";
    {
        sdk::Client client(info_);
        ASSERT_EQ(read(client), wanted);
    }
    const std::size_t whole = gate_.passed();
    for (const Fault fault : {Fault::close, Fault::reset}) {
        for (std::size_t at = 0; at < whole; at += is_slow() ? 7U : 1U) {
            gate_.cut_at(at, fault);
            ++cuts_;
            sdk::Client client(info_);
            try {
                ASSERT_EQ(read(client), wanted) << "cut at byte " << at << " of " << whole;
            } catch (const sdk::SandboxError& error) {
                // Only before the stream had begun: a first request is not made twice.
                ASSERT_LT(at, 200U) << error.what();
            }
        }
    }
}

}  // namespace
}  // namespace sandbox::chaos
