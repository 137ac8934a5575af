"""The daemon under measurement, the programs that load it, and pairs of measurements in turn."""

import json
import os
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BENCH_BUILD", ROOT / "build/release")) / "bin"
STATIC = Path(os.environ.get("SANDBOX_EXECUTOR_STATIC", ROOT / "build/static/bin/sandbox-executor"))
DAEMON = Path(os.environ.get("SANDBOX_EXECUTOR", BUILD / "sandbox-executor"))
SECRET = "bench-secret"
PATIENCE = 120  # seconds for any one program
TICK = os.sysconf("SC_CLK_TCK")


class Options:
    pairs = 7  # measurements of each side
    scale = 1.0  # of the seconds and bytes of one measurement


def seconds(value):
    return max(0.3, value * Options.scale)


def cpu_seconds(pid):
    """CPU of the process with all its threads, also ended ones, in nanoseconds' precision (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


class CpuMeter:
    """What a process takes of the processors from here on."""

    def __init__(self, pid):
        self.pid = pid
        self.begin = self._read()

    def _read(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return cpu_seconds(self.pid), int(fields[11]), int(fields[12])  # utime and stime of proc_pid_stat(5), in ticks

    def microseconds_each(self, count):
        """(all of it, the part in the kernel: the share of the ticks that found it there), for each of `count`."""
        cpu, user, kernel = (now - then for now, then in zip(self._read(), self.begin))
        each = cpu / count * 1e6
        return each, each * kernel / max(user + kernel, 1)


def memory_bytes(pid, field):
    """VmRSS (now) or VmHWM (the most so far)."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M)[1]) * 1024


class Workspace:
    """A directory for the files of a run; with it go all that still runs, also when we are told to end."""

    def __init__(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        self.path = Path(tempfile.mkdtemp(prefix="sandbox-bench-"))
        self.children = []

    def start(self, args, **options):
        child = subprocess.Popen([str(arg) for arg in args], **options)
        self.children.append(child)
        return child

    def stop(self, child):
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream:
                stream.close()
        self.children.remove(child)

    def file(self, name, content=""):
        path = self.path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def close(self):
        for child in self.children[::-1]:
            self.stop(child)
        shutil.rmtree(self.path, ignore_errors=True)


class Daemon:
    """A fresh daemon on free ports of its own."""

    def __init__(self, workspace, program=None, **settings):
        self.workspace = workspace
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(workspace.path), "PORT": "0", "PROXY_PORT": "0",
                       "SANDBOX_SECRET": SECRET, **{key: str(value) for key, value in settings.items()}}
        self.child = workspace.start([program or DAEMON], env=environment, cwd=workspace.path,
                                     stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.pid = self.child.pid
        self.port = self.proxy_port = None
        log = []
        while not (self.port and self.proxy_port):
            line = self.child.stderr.readline()
            log.append(line)
            if not line:
                raise RuntimeError("the daemon has ended: " + "".join(log))
            if found := re.search(r'"Starting sandbox-executor".* port=(\d+)', line):
                self.port = int(found[1])
            if found := re.search(r'"Starting TCP proxy" port=(\d+)', line):
                self.proxy_port = int(found[1])
        threading.Thread(target=self.child.stderr.read, daemon=True).start()

    def cpu(self):
        return cpu_seconds(self.pid)

    def peak(self):
        return memory_bytes(self.pid, "VmHWM")

    def resident(self):
        return memory_bytes(self.pid, "VmRSS")

    def call(self, path, body=None):
        """For set-up and small questions, not for measuring."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data,
                                         headers={"Authorization": f"Bearer {SECRET}"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read() or b"null")

    def stop(self):
        self.workspace.stop(self.child)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Awake:
    """Keeps all processors from going idle, by loops that run only when nothing else wants to (SCHED_IDLE, sched(7)).
    An idle processor of a virtual machine is given back to the host, and who wakes it pays for that."""

    def __init__(self, workspace):
        self.workspace = workspace

    def __enter__(self):
        self.loops = [self.workspace.start(["sh", "-c", "while :; do :; done"]) for _ in range(os.cpu_count())]
        for loop in self.loops:
            os.sched_setscheduler(loop.pid, os.SCHED_IDLE, os.sched_param(0))

    def __exit__(self, *_):
        for loop in self.loops:
            self.workspace.stop(loop)


def request_text(path, body=None, method=None, length=None, headers=""):
    """An HTTP request; with `length`, its head alone, for a body of so many bytes."""
    text = f"{method or ('GET' if body is None and length is None else 'POST')} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    text += f"Authorization: Bearer {SECRET}\r\n{headers}"
    if length is not None:
        return text + f"Content-Length: {length}\r\n\r\n"
    if body is None:
        return text + "\r\n"
    data = json.dumps(body)
    return text + f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n{data}"


def tool(name, *args, env=None, patience=PATIENCE):
    """Runs bench_NAME, a program of load/, and gives what it tells."""
    done = subprocess.run([BUILD / f"bench_{name}", *map(str, args)], capture_output=True, text=True, timeout=patience,
                          env=env)
    if done.returncode != 0:
        raise RuntimeError(f"bench_{name}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def program_seconds(*args):
    """What a program takes, with its output thrown away."""
    begin = time.monotonic()
    child = subprocess.Popen(args, stdout=subprocess.DEVNULL)
    # Not by a wait with a timeout: Python looks for the end at intervals that grow to 50 ms.
    end = os.pidfd_open(child.pid)
    ended, _, _ = select.select([end], [], [], PATIENCE)
    seconds_taken = time.monotonic() - begin
    os.close(end)
    if not ended:
        child.kill()
    if child.wait() != 0:
        raise RuntimeError(f"{args}: status {child.returncode}")
    return seconds_taken


def shell_seconds(script):
    return program_seconds("sh", "-c", script)


def in_turn(*sides):
    """Calls all sides in turn, A B A B, and again; a list of results a side. The first round warms up and does not count."""
    results = [[] for _ in sides]
    for round_number in range(Options.pairs + 1):
        for side, kept in zip(sides, results):
            result = side()
            if round_number:
                kept.append(result)
    return results


def put_between(document, begin, end, text):
    """Replaces what stands between two marks of a document."""
    before, rest = document.read_text().split(begin)
    document.write_text(before + begin + text + end + rest.split(end)[1])


def median(values):
    return statistics.median(values)


def median_ratio(ours, theirs):
    """The median of the pairs' ratios: what disturbs both sides of a pair cancels out."""
    return median([a / b for a, b in zip(ours, theirs)])
