"""GET /health, against nginx and a bare epoll loop."""

import peers
from harness import CpuMeter, Daemon, in_turn, median_ratio, seconds
from table import bounded, compared, floored


def health(workspace):
    """64 connections."""

    def load(peer):
        meter = CpuMeter(peer.pid)
        rate, count = peers.wrk(peer.port, seconds(2))
        return rate, *meter.microseconds_each(count)

    with Daemon(workspace) as daemon, peers.nginx(workspace) as nginx, peers.Bare(workspace, "bare_http") as bare:
        ours, theirs, floor = in_turn(lambda: load(daemon), lambda: load(nginx), lambda: load(bare))
    rate, cpu, in_kernel = zip(*ours)
    their_rate, _, _ = zip(*theirs)
    _, bare_cpu, _ = zip(*floor)
    yield compared("health", "/health, 64 connections", "req/s", rate, their_rate, "nginx, return 200",
                   median_ratio(rate, their_rate), least=0.8)
    yield bounded(floored("health", "/health, CPU a request", "µs", cpu, bare_cpu, "bare epoll loop",
                          median_ratio(cpu, bare_cpu), most=7), "our part in the kernel", in_kernel)


ROWS = {"health": health}
