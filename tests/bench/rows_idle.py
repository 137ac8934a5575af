"""What the static program weighs, against a bare epoll loop that answers /health."""

import os
import subprocess

import peers
from harness import BUILD, SECRET, STATIC, Daemon, Options, in_turn, memory_bytes, request_text, tool
from rows_output import MB
from table import at_most, floored

CONNECTIONS = 1000


def hold(workspace, port, count, request=None):
    """Opens connections, each used once, and holds them."""
    child = workspace.start([BUILD / "bench_hold", port, count, *([request] if request else [])],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if not child.stdout.readline():
        raise RuntimeError("the connections could not be opened")
    return child


def idle(workspace):
    """Memory at rest, and with 1000 idle connections."""
    request = workspace.file("health", request_text("/health"))

    def memory(server):
        before = memory_bytes(server.pid, "VmRSS")
        held = hold(workspace, server.port, CONNECTIONS, request)
        after = memory_bytes(server.pid, "VmRSS")
        workspace.stop(held)
        return before / MB, after / MB

    def ours():
        with Daemon(workspace, STATIC) as daemon:
            return memory(daemon)

    def bare():
        with peers.Bare(workspace, "bare_http") as server:
            return memory(server)

    a, b = in_turn(ours, bare)
    for index, what, limit in ((0, "at rest", 4), (1, f"{CONNECTIONS} idle connections", 12)):
        yield floored("idle", f"RSS, {what}", "MB", [pair[index] for pair in a], [pair[index] for pair in b],
                      "bare epoll loop", None, most=limit)


def start(workspace):
    """From the start to the first 200 of /health."""
    count = max(5, round(20 * Options.scale))

    def first_answer(command):
        port = peers.free_port()
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(workspace.path), "SANDBOX_SECRET": SECRET,
                       "PORT": str(port), "PROXY_PORT": str(peers.free_port())}
        return tool("start", port, count, *command(port), env=environment)["p50_us"] / 1000

    a, b = in_turn(lambda: first_answer(lambda _: [STATIC]),
                   lambda: first_answer(lambda port: [BUILD / "bench_bare_http", port]))
    yield floored("start", "start to the first 200", "ms", a, b, "bare epoll loop", None, most=2)


def size(_):
    """The stripped static program."""
    yield at_most("size", "stripped static program", "MB", STATIC.stat().st_size / MB, 5)


ROWS = {"idle": idle, "start": start, "size": size}
