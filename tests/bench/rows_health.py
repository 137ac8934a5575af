"""GET /health, against nginx and a bare epoll loop."""

import peers
from harness import CpuMeter, Daemon, in_turn, median_ratio, seconds
from table import bounded, compared, floored


def health(workspace):
    """64 connections."""

    def load(peer):
        meter = CpuMeter(peer.pid)
        rate, count = peers.wrk(peer.port, seconds(2))
        return rate, *(spent / count * 1e6 for spent in meter.seconds())

    with Daemon(workspace) as daemon, peers.nginx(workspace) as nginx, peers.Bare(workspace, "bare_http") as bare:
        ours, theirs, floor = in_turn(lambda: load(daemon), lambda: load(nginx), lambda: load(bare))
    rates = [[rate for rate, _, _ in side] for side in (ours, theirs)]
    cpu = [[cost for _, cost, _ in side] for side in (ours, floor)]
    in_kernel = [cost for _, _, cost in ours]
    yield compared("health", "/health, 64 connections", "req/s", *rates, "nginx, return 200", median_ratio(*rates), least=0.8)
    yield bounded(floored("health", "/health, CPU a request", "µs", *cpu, "bare epoll loop", median_ratio(*cpu), most=7),
                  "our part in the kernel", in_kernel)


ROWS = {"health": health}
