"""How cost grows: `scripts/bench growth` draws docs/performance/growth-*.svg and writes the figures beside them."""

import argparse
import json
import sys
import time

import peers
import plot
from harness import ROOT, Daemon, Options, Workspace, cpu_seconds, median, put_between, request_text, seconds, tool
from rows_files import RAW
from rows_grows import await_that, cost, running, start_many
from rows_idle import hold
from rows_output import MB, check_that, transfer

PLACE = ROOT / "docs/performance"
DOCUMENT = ROOT / "docs/performance.md"
BEGIN, END = "<!-- pictures: written by scripts/bench growth -->\n", "<!-- end of pictures -->\n"


class Curve:
    """Figures by x, and the panels that show them: (label of y, {name: key of the figure})."""

    def __init__(self, x_label, panels):
        self.x_label, self.panels, self.points = x_label, panels, {}

    def add(self, x, **figures):
        self.points[x] = figures

    def draw(self):
        xs = list(self.points)
        return plot.chart(self.x_label, xs, [
            (label, {name: [self.points[x][key] for x in xs] for name, key in series.items()})
            for label, series in self.panels])


def repeated(measure):
    return median([measure() for _ in range(Options.pairs)])


def up_to(limit, values):
    """With --quick the largest ones are left out."""
    return [value for value in values if value <= max(values[1], limit * Options.scale)]


def clients(workspace):
    """1 to 1024 clients that each wait for their answer, keep-alive."""
    curve = Curve("clients", [("/health a second", {"": "health_rate"}), ("/run a second", {"": "run_rate"}),
                              ("CPU a /run, µs", {"": "run_cpu"}), ("peak RSS, MB", {"": "peak"})])
    health = workspace.file("health", request_text("/health"))
    run = workspace.file("run", request_text("/run", {"cmd": "true"}))
    rate = lambda result: result["count"] / result["seconds"]
    for count in up_to(1024, [1, 32, 256, 1024]):
        with Daemon(workspace) as daemon:
            load = lambda request, expected: tool("requests", daemon.port, count, seconds(2), 200_000, request, expected)
            health_rate = rate(load(health, "ok"))
            before = daemon.cpu()
            result = load(run, '"code":0')
            curve.add(count, health_rate=health_rate, run_rate=rate(result), peak=daemon.peak() / MB,
                      run_cpu=(daemon.cpu() - before) / result["count"] * 1e6)
    return curve


def processes(workspace):
    """1 to 1024 running processes: a `/run` and a listing beside them."""
    curve = Curve("running processes", [("CPU a /run, µs", {"": "run_cpu"}), ("CPU a /list_processes, µs", {"": "list_cpu"}),
                                        ("RSS, MB", {"": "resident"})])
    run = workspace.file("run", request_text("/run", {"cmd": "true"}))
    listing = workspace.file("list", request_text("/list_processes"))
    sleep = workspace.file("sleep", request_text("/start_process", {"args": ["sleep", "600"]}))
    with Daemon(workspace) as daemon:
        started = 0
        for count in up_to(1024, [1, 4, 16, 64, 256, 1024]):
            tool("requests", daemon.port, 1, 60, count - started, sleep, '"success":true')
            started = count
            await_that(lambda: running(daemon) == count, f"{count} processes do not run")
            curve.add(count, resident=daemon.resident() / MB, run_cpu=repeated(lambda: cost(daemon, run, 1, '"code":0')),
                      list_cpu=cost(daemon, listing, 1, '"running"'))
    return curve


def logs(workspace):
    """Log stores: one process's log, from 1 MB to the budget, written and read back."""
    curve = Curve("MB of log", [("stored, MB/s", {"": "stored"}), ("read back, MB/s", {"": "read"}), ("RSS, MB", {"": "resident"})])
    line = "a" * 99
    for size in up_to(256, [1, 4, 16, 64, 256]):
        # One process may have all of the budget here, in any number of lines. A record costs 16 bytes beside its text.
        with Daemon(workspace, SANDBOX_LOG_BUDGET=300 * MB, SANDBOX_PROCESS_LOG_BUDGET=300 * MB, SANDBOX_LOG_LINES=10**8) as daemon:
            begin = time.monotonic()
            started = daemon.call("/start_process", {"cmd": f"yes {line} | head -c {size * MB}"})
            await_that(lambda: running(daemon) == 0, "the process does not end")
            stored = size / (time.monotonic() - begin)
            request = workspace.file("logs", request_text(f"/process_logs_streaming?id={started['id']}&follow=false"))
            read = transfer(daemon.port, request, lambda body, tail: check_that(body > size * MB and "complete" in tail, tail))
            curve.add(size, stored=stored, read=size / read, resident=daemon.resident() / MB)
    return curve


def files(workspace):
    """Files from 1 KB to 1 GB, as text in JSON and raw."""
    curve = Curve("bytes", [("text, MB/s", {"/write_file": "write", "/read_file": "read"}),
                            ("raw, MB/s", {"upload": "upload", "download": "download"}), ("peak RSS, MB", {"": "peak"})])
    target = workspace.path / "target"
    for size in up_to(10**9, [1000, 32_000, 10**6, 32 * 10**6, 10**9]):
        begin, end = f'{{"path":"{target}","content":"', '"}'
        text = workspace.file("text", begin + "a" * size + end)
        raw = workspace.file("raw", "a" * size)
        write = workspace.file("write", request_text("/write_file", length=size + len(begin) + len(end)))
        read = workspace.file("read", request_text("/read_file", {"path": str(target)}))
        upload = workspace.file("upload", request_text(f"/files?path={target}", length=size, headers=RAW))
        download = workspace.file("download", request_text(f"/files?path={target}"))
        with Daemon(workspace) as daemon:

            def speed(*request):
                def once():
                    result = tool("transfer", daemon.port, *request)
                    check_that(result["status"] == 200 and target.stat().st_size == size, f"status {result['status']}")
                    return size / MB / result["seconds"]
                return once() if size >= 10**9 else repeated(once)

            figures = {"write": speed(write, text), "read": speed(read), "upload": speed(upload, raw), "download": speed(download)}
            curve.add(size, **figures, peak=daemon.peak() / MB)
    return curve


def forwarded(workspace):
    """1 to 5000 forwarded connections: a new one beside them."""
    curve = Curve("open forwarded connections", [("new connections a second", {"": "rate"}),
                                                 ("CPU a new connection, µs", {"": "connection_cpu"}), ("RSS, MB", {"": "resident"})])
    with Daemon(workspace) as daemon, peers.Bare(workspace, "echo") as echo:
        daemon.call("/bind_port", {"port": echo.port})
        for count in up_to(5000, [1, 10, 100, 1000, 5000]):
            held = hold(workspace, daemon.proxy_port, count)

            def load():
                before = cpu_seconds(daemon.pid)
                result = tool("connections", daemon.proxy_port, 8, seconds(1), 3000)
                return result["count"] / result["seconds"], (cpu_seconds(daemon.pid) - before) / result["count"] * 1e6

            results = [load() for _ in range(Options.pairs)]
            curve.add(count, rate=median([rate for rate, _ in results]), connection_cpu=median([cpu for _, cpu in results]),
                      resident=daemon.resident() / MB)
            workspace.stop(held)
    return curve


CURVES = {"clients": clients, "processes": processes, "logs": logs, "files": files, "forwarded": forwarded}


def picture_list():
    """The pictures that are there, with what they show, for docs/performance.md."""
    return "\n".join(f"{curve.__doc__}\n\n![{name}](performance/growth-{name}.svg)\n"
                     for name, curve in CURVES.items() if (PLACE / f"growth-{name}.svg").exists())


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench growth", description=__doc__)
    parser.add_argument("curves", nargs="*", metavar="CURVE", help=f"{' '.join(CURVES)}; all of them by default")
    parser.add_argument("--quick", action="store_true", help="without the largest, and shorter")
    options = parser.parse_args()
    if unknown := [name for name in options.curves if name not in CURVES]:
        parser.error(f"no such curve: {' '.join(unknown)}; there are: {' '.join(CURVES)}")
    Options.pairs, Options.scale = (1, 0.2) if options.quick else (3, 1.0)
    PLACE.mkdir(exist_ok=True)
    record = PLACE / "growth.json"
    figures = json.loads(record.read_text()) if record.exists() else {}
    for name in options.curves or CURVES:
        workspace = Workspace()
        try:
            curve = CURVES[name](workspace)
        finally:
            workspace.close()
        print(f"\n{curve.x_label}")
        for x, point in curve.points.items():
            print(f"{x:>12}  " + "  ".join(f"{key} {value:.4g}" for key, value in point.items()), flush=True)
        (PLACE / f"growth-{name}.svg").write_text(curve.draw())
        figures[name] = {str(x): {key: float(f"{value:.4g}") for key, value in point.items()}
                         for x, point in curve.points.items()}
        record.write_text(json.dumps(figures, indent=1) + "\n")
        put_between(DOCUMENT, BEGIN, END, picture_list() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
