"""Files in and out, against cp and nginx."""

import os

import peers
from harness import Daemon, in_turn, median, median_ratio, program_seconds, request_text, tool
from rows_output import MB, check_that, size_of
from table import at_most, bounded, compared, floored

LINE = "The quick brown fox jumps over the lazy dog, and 0123456789 follow it to the end.\n"
RAW = "Content-Type: application/octet-stream\r\n"


def text_of(size):
    return (LINE * (size // len(LINE) + 1))[:size]


def removed(path):
    path.unlink(missing_ok=True)
    return path


def transfer(daemon, request, body=None):
    result = tool("transfer", daemon.port, request, *([body] if body else []))
    check_that(result["status"] == 200, f"status {result['status']}: {bytes.fromhex(result['tail'])}")
    return result


def copy_seconds(source, target):
    """cp of a file that is in the page cache, to the page cache."""
    removed(target)
    return program_seconds("cp", "--reflink=never", source, target)


def write_text(workspace):
    """/write_file of 50 MB of text."""
    size = size_of(50)
    source = workspace.file("source", text_of(size))
    target, copy = workspace.path / "target", workspace.path / "copy"
    request = workspace.file("request", request_text("/write_file", {"path": str(target), "content": text_of(size)}))

    with Daemon(workspace) as daemon:

        def ours():
            removed(target)
            result = transfer(daemon, request)
            check_that(target.stat().st_size == size, "the file is not whole")
            return size / MB / result["seconds"]

        a, b = in_turn(ours, lambda: size / MB / copy_seconds(source, copy))
        peak = daemon.peak()
    check_that(target.read_bytes() == source.read_bytes(), "the file is another one")
    yield floored("write", "/write_file, 50 MB of text", "MB/s", a, b, "cp", median_ratio(a, b), least=300)
    yield at_most("write", "/write_file, 50 MB of text, peak RSS", "MB", peak / MB, 64)


def upload(workspace):
    """POST /files of 50 MB of bytes."""
    size = size_of(50)
    source = workspace.file("source", os.urandom(size))
    target, copy = workspace.path / "target", workspace.path / "copy"
    request = workspace.file("request", request_text(f"/files?path={target}", length=size, headers=RAW))

    def speed(server):
        removed(target)
        result = transfer(server, request, source)
        check_that(target.stat().st_size == size, "the file is not whole")
        return size / MB / result["seconds"]

    with (Daemon(workspace) as daemon, peers.Bare(workspace, "bare_upload", target) as bare,
          peers.Bare(workspace, "bare_upload", target, "apart") as bare_apart):
        floor, floor_apart, a, b = in_turn(lambda: speed(bare), lambda: speed(bare_apart), lambda: speed(daemon),
                                           lambda: size / MB / copy_seconds(source, copy))
        peak = daemon.peak()
    check_that(target.read_bytes() == source.read_bytes(), "the file is another one")
    line = compared("upload", "POST /files, 50 MB", "MB/s", a, b, "cp", median_ratio(a, b), least=0.7)
    yield bounded(bounded(line, "bare server", floor, b), "with a thread for the file", floor_apart, b)
    yield at_most("upload", "POST /files, 50 MB, peak RSS", "MB", peak / MB, 16)


def read_text(workspace):
    """/read_file of 50 MB of text."""
    size = size_of(50)
    text = text_of(size)
    source, copy = workspace.file("source", text), workspace.path / "copy"
    request = workspace.file("request", request_text("/read_file", {"path": str(source)}))
    expected = size + text.count("\n") + len('{"content":"","encoding":"utf-8"}')

    with Daemon(workspace) as daemon:

        def ours():
            result = transfer(daemon, request)
            check_that(result["body_bytes"] in (expected, expected + 1), f"{result['body_bytes']} bytes, not {expected}")
            return size / MB / result["seconds"]

        a, b = in_turn(ours, lambda: size / MB / copy_seconds(source, copy))
        peak = daemon.peak()
    yield floored("read", "/read_file, 50 MB of text", "MB/s", a, b, "cp", median_ratio(a, b), least=500)
    yield at_most("read", "/read_file, 50 MB of text, peak RSS", "MB", peak / MB, 64)


def download(workspace):
    """GET /files of 50 MB of bytes."""
    size = size_of(50)
    source = workspace.file("source", os.urandom(size))
    request = workspace.file("request", request_text(f"/files?path={source}"))
    plain = workspace.file("plain-request", request_text("/source"))

    def load(server, asked):
        result = transfer(server, asked)
        check_that(result["body_bytes"] == size, f"{result['body_bytes']} bytes, not {size}")
        return size / MB / result["seconds"]

    with Daemon(workspace) as daemon, peers.nginx(workspace) as nginx:
        a, b = in_turn(lambda: load(daemon, request), lambda: load(nginx, plain))
        peak = daemon.peak()
    yield compared("download", "GET /files, 50 MB", "MB/s", a, b, "nginx, sendfile", median_ratio(a, b), least=0.9)
    yield at_most("download", "GET /files, 50 MB, peak RSS", "MB", peak / MB, 16)


ROWS = {"write": write_text, "upload": upload, "read": read_text, "download": download}
