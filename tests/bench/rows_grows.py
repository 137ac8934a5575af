"""What an operation costs once much has happened: a laden daemon against a fresh one."""

import os
import time

from harness import Daemon, Options, in_turn, median_ratio, request_text, seconds, tool
from rows_idle import hold
from rows_output import MB, check_that, transfer
from table import at_most, bounded, compared

FLAT = 1.25  # a cost that is not higher by more than this is flat; less is the noise of the machine


def scaled(count):
    return max(50, round(count * Options.scale))


def run_cost(workspace):
    """Measures CPU of the daemon in µs for one /run."""
    request = workspace.file("run-true", request_text("/run", {"cmd": "true"}))
    return lambda daemon: cost(daemon, request, 1, '"code":0')


def cost(daemon, request, connections, expected):
    before = daemon.cpu()
    result = tool("requests", daemon.port, connections, seconds(1), 50_000, request, expected)
    return (daemon.cpu() - before) / result["count"] * 1e6


def flat(workspace, what, laden, measure):
    with Daemon(workspace) as fresh:
        a, b = in_turn(lambda: measure(laden), lambda: measure(fresh))
    return compared("grows", what, "µs", a, b, "fresh daemon", median_ratio(a, b), most=FLAT)


def start_many(workspace, daemon, count, body):
    request = workspace.file("start", request_text("/start_process", body))
    result = tool("requests", daemon.port, 8, 120, count - 7, request, '"success":true')
    check_that(count - 7 <= result["count"] <= count, f"{result['count']} started")


def running(daemon):
    return sum(process["status"] == "running" for process in daemon.call("/list_processes")["processes"])


def await_that(condition, what):
    end = time.monotonic() + 60
    while not condition():
        check_that(time.monotonic() < end, what)
        time.sleep(0.005)


def finished(workspace):
    """10 000 finished processes."""
    count, first = max(2000, scaled(10_000)), 1000
    with Daemon(workspace) as daemon:
        start_many(workspace, daemon, first, {"cmd": "echo x"})
        await_that(lambda: running(daemon) == 0, "the processes do not end")
        early = daemon.resident()
        start_many(workspace, daemon, count - first, {"cmd": "echo x"})
        await_that(lambda: running(daemon) == 0, "the processes do not end")
        # The last 1000 ended ones are kept, so these may cost and the others may not.
        yield at_most("grows", f"{count} finished processes, RSS beyond the first {first}", "MB",
                      (daemon.resident() - early) / MB, 4)
        yield flat(workspace, f"{count} finished processes, CPU of a /run", daemon, run_cost(workspace))


def sleeping(workspace):
    """1 000 running ones."""
    count = scaled(1000)
    with Daemon(workspace) as daemon:
        before = daemon.resident()
        start_many(workspace, daemon, count, {"args": ["sleep", "600"]})
        await_that(lambda: running(daemon) >= count - 7, "the processes do not run")
        yield at_most("grows", f"{count} running processes, RSS each", "kB", (daemon.resident() - before) / count / 1000, 20)
        line = flat(workspace, f"{count} running processes, CPU of a /run", daemon, run_cost(workspace))
        held = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        laden, fresh = in_turn(lambda: tool("spawn", 1, seconds(1), held)["cpu_us"], lambda: tool("spawn", 1, seconds(1))["cpu_us"])
        yield bounded(line, f"posix_spawn, beside {held} descriptors and few", laden, fresh)


def long_stream(workspace):
    """A 10 GB stream."""
    size = scaled(10_000) * MB
    line = "a" * 99

    def stream(bytes_wanted):
        script = f"yes {line} | head -c {bytes_wanted}"
        request = workspace.file("stream", request_text("/run_streaming", {"cmd": script}))
        with Daemon(workspace) as daemon:
            transfer(daemon.port, request, lambda body, tail: check_that(
                body > bytes_wanted and '"code":0' in tail, f"{body} bytes: {tail}"))
            return daemon.cpu() / (bytes_wanted / 1e9), daemon.peak()

    short, _ = stream(size // 10)
    long, peak = stream(size)
    yield compared("grows", f"{size / 1e9:g} GB stream, CPU a GB", "s", [long], [short], "the first tenth", long / short, most=FLAT)
    yield at_most("grows", f"{size / 1e9:g} GB stream, peak RSS", "MB", peak / MB, 16)


def connected(workspace):
    """5 000 open connections."""
    count = scaled(5000)
    request = workspace.file("health", request_text("/health"))
    with Daemon(workspace) as daemon:
        before = daemon.resident()
        held = hold(workspace, daemon.port, count, request)
        yield at_most("grows", f"{count} open connections, RSS each", "kB", (daemon.resident() - before) / count / 1000, 8)
        yield flat(workspace, f"{count} open connections, CPU of a /health", daemon,
                   lambda server: cost(server, request, 8, "ok"))
        workspace.stop(held)


def grows(workspace):
    """10 000 finished processes, 1 000 running ones, a 10 GB stream, 5 000 open connections."""
    for part in (finished, sleeping, long_stream, connected):
        yield from part(workspace)


ROWS = {"grows": grows}
