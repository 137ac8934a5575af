"""Output of commands, against the pipeline that produces it, timed alone with its output thrown away."""

import peers
from harness import Daemon, Options, in_turn, median, median_ratio, request_text, shell_seconds, tool
from table import at_least, at_most, bounded, compared

MB = 1_000_000


def size_of(megabytes):
    return max(5, round(megabytes * Options.scale)) * MB


def lines_script(size):
    return f"head -c {size} /dev/zero | tr '\\0' a | fold -w 99"


def line_script(size):
    return f"head -c {size} /dev/zero | tr '\\0' a"


def transfer(port, request, check):
    result = tool("transfer", port, request, patience=600)
    tail = bytes.fromhex(result["tail"]).decode("utf-8", "replace")
    if result["status"] != 200:
        raise RuntimeError(f"status {result['status']}: {tail}")
    check(result["body_bytes"], tail)
    return result["seconds"]


def measure(workspace, path, script, check):
    """Seconds of ours, of the pipeline, of a bare relay, and of the pipeline with a reader, in turn, and the daemon's
    peak of memory."""
    request = workspace.file("request", request_text(path, {"cmd": script}))
    with Daemon(workspace) as daemon, peers.Bare(workspace, "bare_run", script) as bare:
        sides = in_turn(lambda: transfer(daemon.port, request, check), lambda: shell_seconds(script),
                        lambda: transfer(bare.port, request, lambda *_: None),
                        lambda: shell_seconds(f"{script} | cat"))
        return *sides, daemon.peak()


def speeds(size, *sides):
    return [[size / MB / time for time in times] for times in sides]


def against_pipeline(row, what, ours, pipeline, bare, read, least):
    line = compared(row, what, "MB/s", ours, pipeline, "pipeline alone", median_ratio(ours, pipeline), least=least)
    return bounded(bounded(line, "read by cat", read, pipeline), "bare relay", bare, pipeline)


def check_that(condition, what):
    if not condition:
        raise RuntimeError(what)


def stream_lines(workspace):
    """/run_streaming of 200 MB in 99-byte lines."""
    size = size_of(200)
    count = -(-size // 99)
    event = len('event: output\ndata: {"data":"","stream":"stdout"}\n\n')
    last = 'event: complete\ndata: {"code":0,"error":false}\n\n'

    def check(body, tail):
        # A last line without its newline has an "eol" member.
        expected = size + count * event + len(',"eol":""') + len(last)
        check_that(tail.endswith(last) and body == expected, f"{body} bytes instead of {expected}: {tail}")

    *sides, peak = measure(workspace, "/run_streaming", lines_script(size), check)
    ours, *others = speeds(size, *sides)
    yield against_pipeline("stream", "/run_streaming, 99-byte lines", ours, *others, 0.5)
    yield at_least("stream", "/run_streaming, 99-byte lines, payload", "MB/s", median(ours), 100)
    yield at_most("stream", "/run_streaming, 99-byte lines, peak RSS", "MB", peak / MB, 16)


def stream_line(workspace):
    """/run_streaming of 200 MB in one line."""
    size = size_of(200)
    last = 'event: complete\ndata: {"code":0,"error":false}\n\n'

    def check(body, tail):
        check_that(tail.endswith(last) and size < body < 1.001 * size + 1000, f"{body} bytes: {tail}")

    *sides, peak = measure(workspace, "/run_streaming", line_script(size), check)
    yield against_pipeline("line", "/run_streaming, one line", *speeds(size, *sides), 0.7)
    yield at_most("line", "/run_streaming, one line, peak RSS", "MB", peak / MB, 16)


def run_output(workspace, row, megabytes, least):
    size = size_of(megabytes)
    end = '","stderr":"","code":0}'

    def check(body, tail):
        expected = size + len('{"stdout":"') + len(end)
        check_that(tail.rstrip("\n").endswith(end) and body in (expected, expected + 1), f"{body} bytes: {tail}")

    *sides, peak = measure(workspace, "/run", line_script(size), check)
    yield against_pipeline(row, f"/run, {megabytes} MB of stdout", *speeds(size, *sides), least)
    yield at_most(row, f"/run, {megabytes} MB of stdout, peak RSS", "MB", peak / MB, 32)


def run_100(workspace):
    """/run with 100 MB of stdout."""
    return run_output(workspace, "run100", 100, 0.7)


def run_1000(workspace):
    """/run with 1 GB of stdout."""
    return run_output(workspace, "run1000", 1000, 0.5)


ROWS = {"stream": stream_lines, "line": stream_line, "run100": run_100, "run1000": run_1000}
