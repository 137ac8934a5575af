"""GET /health, against nginx and a bare epoll loop."""

import peers
from harness import Daemon, cpu_seconds, in_turn, median_ratio, seconds
from table import compared, floored


def health(workspace):
    """64 connections."""

    def load(peer):
        before = cpu_seconds(peer.pid)
        rate, count = peers.wrk(peer.port, seconds(2))
        return rate, (cpu_seconds(peer.pid) - before) / count * 1e6

    with Daemon(workspace) as daemon, peers.nginx(workspace) as nginx, peers.Bare(workspace, "bare_http") as bare:
        ours, theirs, floor = in_turn(lambda: load(daemon), lambda: load(nginx), lambda: load(bare))
    rates = [[rate for rate, _ in side] for side in (ours, theirs)]
    cpu = [[cost for _, cost in side] for side in (ours, floor)]
    yield compared("health", "/health, 64 connections", "req/s", *rates, "nginx, return 200", median_ratio(*rates), least=0.8)
    yield floored("health", "/health, CPU a request", "µs", *cpu, "bare epoll loop", median_ratio(*cpu), most=7)


ROWS = {"health": health}
