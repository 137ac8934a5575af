"""The TCP forwarder, against haproxy and socat."""

import peers
from harness import Daemon, cpu_seconds, in_turn, median, median_ratio, seconds, tool
from table import compared


def throughput(workspace):
    """One stream through the forwarder."""

    def load(port, pid):
        before = cpu_seconds(pid)
        size, rate = peers.iperf(port, seconds(2))
        return rate / 1e9, (cpu_seconds(pid) - before) / (size / 1e9)

    with (Daemon(workspace) as daemon, peers.iperf_server(workspace) as server,
          peers.haproxy(workspace, server.port) as haproxy, peers.socat(workspace, server.port) as socat):
        daemon.call("/bind_port", {"port": server.port})
        ours, first, second = in_turn(lambda: load(daemon.proxy_port, daemon.pid), lambda: load(haproxy.port, haproxy.pid),
                                      lambda: load(socat.port, socat.pid))
    rate = lambda side: [value for value, _ in side]
    cost = lambda side: [value for _, value in side]
    best, name = max((first, "haproxy"), (second, "socat -b 128k"), key=lambda side: median(rate(side[0])))
    yield compared("forward", "forwarder, one stream", "GB/s", rate(ours), rate(best), name,
                   median_ratio(rate(ours), rate(best)), least=1.05)
    yield compared("forward", "forwarder, CPU a GB", "s", cost(ours), cost(first), "haproxy",
                   median_ratio(cost(ours), cost(first)), most=0.5)


def connections(workspace):
    """Connections a second through the forwarder, 8 at once."""

    def load(port):
        # Bounded, so that the ports that wait for their end do not run out.
        result = tool("connections", port, 8, seconds(2), 8000)
        return result["count"] / result["seconds"]

    # A target for each: the ports that the one's connections leave in TIME_WAIT would be in the way of the other's, and
    # cost whose turn is next a third.
    with (Daemon(workspace) as daemon, peers.Bare(workspace, "echo") as echo, peers.Bare(workspace, "echo") as other_echo,
          peers.haproxy(workspace, other_echo.port) as haproxy):
        daemon.call("/bind_port", {"port": echo.port})
        a, b = in_turn(lambda: load(daemon.proxy_port), lambda: load(haproxy.port))
    yield compared("connections", "forwarder, 8 connections at once", "/s", a, b, "haproxy", median_ratio(a, b), least=1.0)


ROWS = {"forward": throughput, "connections": connections}
