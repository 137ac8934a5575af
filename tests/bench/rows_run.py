"""POST /run of a command that does nothing, against the spawn alone."""

import os

import peers
from harness import Awake, CpuMeter, Daemon, in_turn, median_ratio, request_text, seconds, tool
from table import bounded, compared, floored


def run_one(workspace):
    """One client."""
    request = workspace.file("run-true", request_text("/run", {"cmd": "true"}))

    def load(server, clients=1):
        meter = CpuMeter(server.pid)
        result = tool("requests", server.port, clients, seconds(2), 100_000, request, '"code":0')
        return result["p50_us"], *meter.microseconds_each(result["count"])

    def load_awake(server):
        with Awake(workspace):
            return load(server)

    with Daemon(workspace) as daemon, peers.Bare(workspace, "bare_run", "true") as bare:
        ours, spawn, floor, busy, awake = in_turn(
            lambda: load(daemon), lambda: tool("spawn", 1, seconds(2))["p50_us"], lambda: load(bare),
            lambda: load(daemon, 32), lambda: load_awake(daemon))
    p50, cpu, in_kernel = zip(*ours)
    bare_p50, bare_cpu, _ = zip(*floor)
    yield bounded(compared("run", "/run true, 1 client, p50", "µs", p50, spawn, "posix_spawn", median_ratio(p50, spawn), most=1.25),
                  "bare server", bare_p50, spawn)
    line = floored("run", "/run true, 1 client, CPU of the daemon", "µs", cpu, bare_cpu, "bare server",
                   median_ratio(cpu, bare_cpu), most=120)
    bounded(line, "our part in the kernel", in_kernel)
    bounded(line, "with 32 clients", [cpu for _, cpu, _ in busy])
    yield bounded(line, "with no processor idle", [cpu for _, cpu, _ in awake])


def run_many(workspace):
    """32 clients."""
    request = workspace.file("run-true", request_text("/run", {"cmd": "true"}))
    rate = lambda result: result["count"] / result["seconds"]
    with Daemon(workspace) as daemon:
        a, b = in_turn(
            lambda: rate(tool("requests", daemon.port, 32, seconds(3), 100_000, request, '"code":0')),
            lambda: rate(tool("spawn", os.cpu_count(), seconds(3))))
    yield compared("run32", "/run true, 32 clients", "/s", a, b, f"posix_spawn, {os.cpu_count()} loops",
                   median_ratio(a, b), least=0.75)


ROWS = {"run": run_one, "run32": run_many}
