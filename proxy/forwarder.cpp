#include "proxy/forwarder.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <boost/intrusive/list.hpp>
#include <cerrno>
#include <deque>
#include <list>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/on_exit.hpp"
#include "platform/acceptor.hpp"
#include "platform/event.hpp"
#include "platform/memory_reserve.hpp"
#include "platform/poller.hpp"
#include "proxy/dial.hpp"
#include "proxy/pipe_pool.hpp"
#include "proxy/quiet_log.hpp"
#include "proxy/relay.hpp"

namespace sandbox::proxy {
namespace {

using Clock = std::chrono::steady_clock;

// What a relay, and all relays together, may do before others get their turn.
constexpr std::size_t kBytesPerRelay = 1024 * 1024;
constexpr unsigned kRelaysPerTurn = 32;
// Between attempts to dial when there was no descriptor for it.
constexpr std::chrono::milliseconds kDialPause{50};
constexpr std::uint32_t kEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;

}  // namespace

struct Forwarder::Impl : std::enable_shared_from_this<Forwarder::Impl> {
    struct Connection;

    // One of the two sockets of a connection.
    struct Side final : Poller::Watcher {
        Side(Impl& i, Connection& c, Endpoint& e) : impl(i), connection(c), endpoint(e) {}
        void ready(std::uint32_t events) override {
            endpoint.note(events);
            impl.enqueue(connection);
            // Not at once: a relay sees all that has come together.
            if (std::exchange(impl.turn_is_due, true)) return;
            impl.poller.after_turn([self = impl.shared_from_this()] { self->turn(); });
        }
        void abandon() override {}

        Impl& impl;
        Connection& connection;
        Endpoint& endpoint;
        std::uint64_t key = 0;  // while it is watched
    };

    // In the queue of those that have something to do it is by itself, so that no memory is needed to get
    // there.
    using Queued =
        boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

    struct Connection : Queued {
        // starved: accepted, and waiting for a descriptor or a port to dial with
        enum class Phase : std::uint8_t { unbound, starved, dialling, relaying };

        Connection(UniqueFd fd, Impl& impl)
            : relay(std::move(fd), impl.pipes),
              client(impl, *this, relay.client()),
              target(impl, *this, relay.target()) {}

        Relay relay;
        Side client;
        Side target;
        std::list<Connection>::iterator self;
        Clock::time_point deadline{};  // of an unbound one
        std::uint16_t port = 0;
        Phase phase = Phase::unbound;
        Family family = Family::v4;
        bool second_family = false;
        bool lacks_port = false;  // others have all that one could connect from, in one of the families
    };

    Impl(Loop& l, PortBinding& b, UniqueFd listener, const ForwarderOptions& o)
        : loop(l),
          binding(b),
          options(o),
          acceptor(l, std::move(listener), "forwarder"),
          poller(Poller::of(l)),
          unbound_timer(l),
          starved_timer(l),
          room(l),
          pipes(o.pipe_bytes, kIdlePipes) {}

    void start();
    void stop();
    static Task<> accept_all(std::shared_ptr<Impl> impl);
    std::size_t active() const { return relays.size() + unbound.size(); }
    bool has_room() const { return active() < options.max_connections && starved.empty(); }

    void admit(UniqueFd fd);
    // False when it could not be: the connection is gone then.
    bool watch(Side& side);
    void forget(Side& side) { poller.remove(std::exchange(side.key, 0)); }
    void dial(Connection& connection);
    void dial_failed(Connection& connection, int error);
    void starve(Connection& connection, std::string_view why);
    void feed_starved();
    void connected(Connection& connection);

    void turn();
    void enqueue(Connection& connection);
    void step(Connection& connection);
    void unbound_ends(Connection& connection);
    void arm_unbound_timer();
    void end(Connection& connection);
    void end_relays();
    void end_all();

    Loop& loop;
    PortBinding& binding;
    const ForwarderOptions options;
    Acceptor acceptor;
    Poller& poller;
    Timer unbound_timer;
    Timer starved_timer;
    Event room;
    PipePool pipes;
    std::list<Connection> relays;   // starved, dialling and relaying
    std::list<Connection> unbound;  // oldest first
    boost::intrusive::list<Connection, boost::intrusive::constant_time_size<false>> queue;
    std::deque<Connection*> starved;  // oldest first; no more are accepted while there are some
    PortBinding::Subscription subscription;
    Family preferred = Family::v4;  // where the bound port was found last
    bool feeding = false;           // the starved
    bool turn_is_due = false;
    bool stopped = false;
    QuietLog unbound_log;
    QuietLog refused_log;
    QuietLog error_log;
    ForwarderMetrics totals;
};

void Forwarder::Impl::start() {
    subscription = binding.on_change([this] {
        preferred = Family::v4;
        end_relays();
    });
    spawn_task(loop, "forwarder", accept_all(shared_from_this()));
}

void Forwarder::Impl::stop() {
    stopped = true;
    acceptor.stop();
    room.notify();
}

Task<> Forwarder::Impl::accept_all(std::shared_ptr<Impl> impl) {
    for (;;) {
        while (!impl->has_room() && !impl->stopped) co_await impl->room.wait();
        try {
            UniqueFd fd = co_await impl->acceptor.accept();
            if (!fd) co_return;
            impl->admit(std::move(fd));
        } catch (const std::bad_alloc&) {
            ++impl->totals.dial_errors;  // Closed. The next one may find memory.
        }
    }
}

void Forwarder::Impl::admit(UniqueFd fd) {
    ++totals.accepted;
    if (memory_reserve::runs_short()) {
        // It is for those who are there.
        ++totals.dial_errors;
        error_log.warn("connection not forwarded", {{"error", "no memory"}});
        return;
    }
    std::optional<std::uint16_t> port = binding.current();
    std::list<Connection>& list = port ? relays : unbound;
    Connection& connection = list.emplace_back(std::move(fd), *this);
    connection.self = std::prev(list.end());
    connection.relay.client().writable = true;
    if (!options.splice) connection.relay.copy_always();
    if (port) {
        connection.phase = Connection::Phase::dialling;
        connection.port = *port;
        connection.family = preferred;
    }
    if (!watch(connection.client)) return;
    if (port) {
        dial(connection);
    } else {
        connection.deadline = Clock::now() + options.unbound_close;
        if (unbound.size() == 1) arm_unbound_timer();
    }
}

bool Forwarder::Impl::watch(Side& side) {
    Result<std::uint64_t> key = poller.add(side.endpoint.fd.get(), kEvents, side);
    if (key) {
        side.key = *key;
        return true;
    }
    ++totals.dial_errors;
    error_log.warn("connection not forwarded",
                   {{"port", side.connection.port}, {"error", key.error().message}});
    end(side.connection);
    return false;
}

void Forwarder::Impl::dial(Connection& connection) {
    connection.phase = Connection::Phase::dialling;
    bool possible = connection.family == Family::v4 ? options.ipv4 : options.ipv6;
    Dial attempt;
    attempt.error = EAFNOSUPPORT;
    if (possible) attempt = start_dial(connection.family, connection.port);
    if (attempt.error != 0 && attempt.error != EINPROGRESS) {
        dial_failed(connection, attempt.error);
        return;
    }
    connection.relay.target().fd = std::move(attempt.fd);
    if (!watch(connection.target)) return;
    if (attempt.error == 0) connected(connection);
}

void Forwarder::Impl::dial_failed(Connection& connection, int error) {
    forget(connection.target);
    connection.relay.target() = Endpoint{};
    if (error == EMFILE || error == ENFILE) {
        starve(connection, "no descriptor to connect with, accepting paused");
        return;
    }
    if (error == ECONNRESET || error == ECONNABORTED || error == EPIPE) {
        // Somebody listens, and has reset the fresh connection before we came to look at it.
        connection.relay.reset_client();
        end(connection);
        return;
    }
    if (error == EADDRNOTAVAIL && has_loopback(connection.family)) connection.lacks_port = true;
    if (!std::exchange(connection.second_family, true)) {
        connection.family = other(connection.family);
        dial(connection);
        return;
    }
    if (std::exchange(connection.lacks_port, false)) {
        connection.second_family = false;
        connection.family = preferred;
        starve(connection, "no local port to connect from, accepting paused");
        return;
    }
    // "Refused" also where the second family does not exist on this machine.
    if (error == ECONNREFUSED || error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == ENETUNREACH) {
        ++totals.refused;
        refused_log.warn("nobody listens on the bound port", {{"port", connection.port}});
    } else {
        ++totals.dial_errors;
        error_log.warn("connection not forwarded", {{"port", connection.port}, {"error", errno_text(error)}});
    }
    end(connection);
}

// Out of descriptors or ports: the client keeps its connection and waits for one, and nobody else is accepted
// meanwhile.
void Forwarder::Impl::starve(Connection& connection, std::string_view why) {
    connection.phase = Connection::Phase::starved;
    starved.push_back(&connection);
    if (feeding) return;
    ++totals.pauses;
    error_log.warn(why, {{"port", connection.port}});
    starved_timer.start(kDialPause, [this] { feed_starved(); });
}

void Forwarder::Impl::feed_starved() {
    auto fed = [this] {
        feeding = false;
        if (starved.empty()) {
            room.notify();
        } else {
            starved_timer.start(kDialPause, [this] { feed_starved(); });
        }
    };
    const OnExit done(fed);
    feeding = true;
    // Those for whom there is none yet come back, behind the last of these.
    for (std::size_t n = starved.size(); n > 0 && !starved.empty(); --n) {
        Connection& connection = *starved.front();
        starved.pop_front();
        dial(connection);
    }
}

void Forwarder::Impl::connected(Connection& connection) {
    preferred = connection.family;
    connection.phase = Connection::Phase::relaying;
    connection.relay.target().writable = true;
}

void Forwarder::Impl::enqueue(Connection& connection) {
    if (!connection.is_linked()) queue.push_back(connection);
}

void Forwarder::Impl::turn() {
    turn_is_due = false;
    for (unsigned n = 0; n < kRelaysPerTurn && !queue.empty(); ++n) {
        Connection& connection = queue.front();
        queue.pop_front();
        step(connection);
    }
    if (queue.empty() || std::exchange(turn_is_due, true)) return;
    boost::asio::post(loop, [impl = shared_from_this()] { impl->turn(); });
}

void Forwarder::Impl::step(Connection& connection) {
    Relay& relay = connection.relay;
    if (connection.phase == Connection::Phase::unbound) {
        // A fresh socket is writable; anything beyond that is the client's doing.
        if (relay.client().readable) unbound_ends(connection);
        return;
    }
    if (connection.phase == Connection::Phase::starved) {
        if (relay.client().failed) end(connection);
        return;
    }
    if (connection.phase == Connection::Phase::dialling) {
        if (relay.client().failed) {
            end(connection);
            return;
        }
        if (!relay.target().writable) return;
        int error = finish_dial(relay.target().fd.get(), connection.family, connection.port);
        if (error == EINPROGRESS) {
            relay.target().writable = false;
            return;
        }
        if (error != 0) {
            dial_failed(connection, error);
            return;
        }
        connected(connection);
    }
    switch (relay.advance(kBytesPerRelay)) {
        case Relay::State::idle:
            break;
        case Relay::State::more:
            enqueue(connection);
            break;
        case Relay::State::ended:
            end(connection);
            break;
    }
}

void Forwarder::Impl::unbound_ends(Connection& connection) {
    char byte;
    (void)::recv(connection.relay.client().fd.get(), &byte, 1, MSG_DONTWAIT);
    ++totals.unbound;
    unbound_log.warn("no port is bound, connection closed");
    end(connection);
}

void Forwarder::Impl::arm_unbound_timer() {
    if (unbound.empty()) return;
    auto left = std::chrono::ceil<std::chrono::milliseconds>(unbound.front().deadline - Clock::now());
    unbound_timer.start(std::max(left, std::chrono::milliseconds(0)), [this] {
        auto now = Clock::now();
        while (!unbound.empty() && unbound.front().deadline <= now) unbound_ends(unbound.front());
        arm_unbound_timer();
    });
}

void Forwarder::Impl::end(Connection& connection) {
    Relay& relay = connection.relay;
    relay.end();
    totals.bytes_to_target += relay.bytes_to_target();
    totals.bytes_to_client += relay.bytes_to_client();
    if (relay.was_reset()) ++totals.resets;
    forget(connection.client);
    forget(connection.target);
    bool had_room = has_room();
    if (connection.phase == Connection::Phase::starved) std::erase(starved, &connection);
    (connection.phase == Connection::Phase::unbound ? unbound : relays).erase(connection.self);
    if (!had_room && has_room()) room.notify();
}

void Forwarder::Impl::end_relays() {
    while (!relays.empty()) end(relays.front());
    pipes.shrink();
}

void Forwarder::Impl::end_all() {
    end_relays();
    while (!unbound.empty()) end(unbound.front());
    unbound_timer.cancel();
}

Forwarder::Forwarder(Loop& loop, PortBinding& binding, UniqueFd listener, ForwarderOptions options)
    : impl_(std::make_shared<Impl>(loop, binding, std::move(listener), options)) {
    impl_->start();
}

Forwarder::~Forwarder() {
    impl_->subscription.reset();
    stop();
    close_all();
}

void Forwarder::stop() { impl_->stop(); }

void Forwarder::close_all() { impl_->end_all(); }

std::uint16_t Forwarder::port() const { return impl_->acceptor.port(); }

ForwarderMetrics Forwarder::metrics() const {
    ForwarderMetrics metrics = impl_->totals;
    metrics.pauses += impl_->acceptor.counters().episodes;
    metrics.active = impl_->active();
    for (const auto& connection : impl_->relays) {
        metrics.bytes_to_target += connection.relay.bytes_to_target();
        metrics.bytes_to_client += connection.relay.bytes_to_client();
    }
    return metrics;
}

}  // namespace sandbox::proxy
