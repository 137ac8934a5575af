"""POST /run of a command that does nothing, against the spawn alone."""

import os

from harness import Daemon, in_turn, median, median_ratio, request_text, seconds, tool
from table import at_most, compared


def run_one(workspace):
    """One client."""
    request = workspace.file("run-true", request_text("/run", {"cmd": "true"}))
    cpu = []
    with Daemon(workspace) as daemon:

        def ours():
            before = daemon.cpu()
            result = tool("requests", daemon.port, 1, seconds(2), 100_000, request, '"code":0')
            cpu.append((daemon.cpu() - before) / result["count"] * 1e6)
            return result["p50_us"]

        a, b = in_turn(ours, lambda: tool("spawn", 1, seconds(2))["p50_us"])
    yield compared("run", "/run true, 1 client, p50", "µs", a, b, "posix_spawn", median_ratio(a, b), most=1.25)
    yield at_most("run", "/run true, 1 client, CPU of the daemon", "µs", median(cpu[1:]), 120)


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
