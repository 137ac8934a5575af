"""The other side: nginx, haproxy, socat and iperf3, each with a configuration of its own on a free port of loopback."""

import json
import re
import shutil
import socket
import subprocess
import time

from harness import BUILD, PATIENCE


def program(name):
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin:/sbin:/bin")
    if not path:
        raise RuntimeError(f"{name} is missing; scripts/bench installs it")
    return path


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_listener(port, child):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if child.poll() is not None:
            raise RuntimeError(f"{child.args[0]} has ended with {child.returncode}")
        # Listeners of this port, without a connection that a peer would count.
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            with open(table) as lines:
                if re.search(rf":{port:04X} \S+ 0A ", lines.read()):
                    return
        time.sleep(0.01)
    raise RuntimeError(f"{child.args[0]} does not listen")


class Peer:
    def __init__(self, workspace, args, port):
        self.workspace, self.port = workspace, port
        self.child = workspace.start(args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
        await_listener(port, self.child)
        self.pid = self.child.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.workspace.stop(self.child)


def nginx(workspace, root=None, workers=1):
    """`return 200` with the answer of /health, and the files of `root` by sendfile."""
    port = free_port()
    place = workspace.path
    config = workspace.file("nginx.conf", f"""
daemon off; worker_processes {workers}; pid {place}/nginx.pid; error_log /dev/null; user root;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; default_type application/octet-stream;
    client_body_temp_path {place}/nginx-body; proxy_temp_path {place}/nginx-proxy;
    fastcgi_temp_path {place}/nginx-fastcgi; uwsgi_temp_path {place}/nginx-uwsgi; scgi_temp_path {place}/nginx-scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {root or place};
        location = /health {{ default_type application/json; return 200 '{{"status":"ok"}}'; }}
    }}
}}
""")
    return Peer(workspace, [program("nginx"), "-e", "/dev/null", "-c", config], port)


def haproxy(workspace, target):
    port = free_port()
    config = workspace.file("haproxy.cfg", f"""
global
    maxconn 6000
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen relay
    bind 127.0.0.1:{port} backlog 4096
    server one 127.0.0.1:{target}
""")
    return Peer(workspace, [program("haproxy"), "-db", "-q", "-f", config], port)


def socat(workspace, target):
    port = free_port()
    listen = f"TCP4-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,backlog=1024"
    return Peer(workspace, [program("socat"), "-b", "131072", listen, f"TCP4:127.0.0.1:{target}"], port)


def iperf_server(workspace):
    port = free_port()
    return Peer(workspace, [program("iperf3"), "-s", "-B", "127.0.0.1", "-p", port], port)


def iperf(port, seconds):
    """One stream; bytes that arrived, and bytes a second."""
    done = subprocess.run([program("iperf3"), "-c", "127.0.0.1", "-p", str(port), "-t", str(max(1, round(seconds))), "-J"],
                          capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0:
        raise RuntimeError(f"iperf3: {done.stdout} {done.stderr}")
    total = json.loads(done.stdout)["end"]["sum_received"]
    return total["bytes"], total["bits_per_second"] / 8


def wrk(port, seconds, connections=64):
    """Requests a second of GET /health, and their number."""
    done = subprocess.run([program("wrk"), "-t2", f"-c{connections}", f"-d{max(1, round(seconds))}s",
                           f"http://127.0.0.1:{port}/health"], capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0 or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(f"wrk: {done.stdout} {done.stderr}")
    return (float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1]),
            int(re.search(r"(\d+) requests in", done.stdout)[1]))


class Bare(Peer):
    """A server of load/ that prints its port."""

    def __init__(self, workspace, name, *args):
        self.workspace = workspace
        self.child = workspace.start([BUILD / f"bench_{name}", *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     text=True)
        self.port = json.loads(self.child.stdout.readline())["port"]
        self.pid = self.child.pid
