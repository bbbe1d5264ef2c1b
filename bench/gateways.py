"""The gateways that are measured, each as it would be configured for this: one process, keep-alive, no access log.

`direct` is no gateway: the load generator asks the upstream itself, which tells what there is to subtract.
"""

import http.client
import json
import shutil
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import cpu_s, descendants, listening, start, stop

HERE = Path(__file__).parent
WORK = HERE / "out"
UPSTREAMS = (19001, 19002)
KEY = "sk-bench"
PATH = "/v1/chat/completions"
START_S = 60.0


class Missing(Exception):
    """A gateway is not installed here; says how to get it."""


@dataclass
class Gateway:
    """One gateway: how it is started, where it listens, and its process while it runs."""

    name: str
    port: int
    command: list[str] = field(default_factory=list)
    """Empty: it is there already (`direct`)."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where requests go."""
        return f"http://127.0.0.1:{self.port}{PATH}"

    @property
    def pid(self) -> int:
        """Its process; 0: none of ours."""
        return self.process.pid if self.process else 0

    def start(self, core: int | None, body: bytes) -> dict[str, float]:
        """Start it and wait for its first good answer. Raises RuntimeError when none comes."""
        if not self.command:
            return {}
        if listening(self.port):
            raise RuntimeError(f"port {self.port} is taken, so {self.name} cannot be started")
        log = WORK / f"{self.name}.log"
        began = time.monotonic()
        self.process = start(self.command, core, log)
        last = "no answer"
        while time.monotonic() - began < START_S:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} exited with {self.process.returncode}; see {log}")
            try:
                status, answer = ask(self.port, body)
            except OSError as error:
                last = str(error)
            else:
                if status == 200 and b"choices" in answer:
                    used = sum(cpu_s(descendants(self.pid)))
                    return {"start_s": round(time.monotonic() - began, 3), "start_cpu_s": round(used, 2)}
                last = f"{status} {answer[:200]!r}"
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} was not ready within {START_S:g} s: {last}; see {log}")

    def stop(self) -> None:
        """End it."""
        if self.process:
            stop(self.process)
            self.process = None


def ask(port: int, body: bytes) -> tuple[int, bytes]:
    """One request, on a connection of its own: (status, body)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
        connection.request("POST", PATH, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"not HTTP: {error!r}") from error
    finally:
        connection.close()


def make(name: str) -> Gateway:
    """The gateway of this name. Raises Missing when it is not installed, KeyError when nobody knows it."""
    return {"direct": _direct, "penstock": _penstock, "nginx": _nginx, "envoy": _envoy}[name]()


def _direct() -> Gateway:
    return Gateway("direct", UPSTREAMS[0])


def _penstock() -> Gateway:
    return Gateway(
        "penstock", 18080, [sys.executable, "-m", "penstock", "serve", "--config", str(HERE / "penstock.yaml")]
    )


def _nginx() -> Gateway:
    exe = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if exe is None:
        raise Missing("nginx is not installed (Debian: apt install nginx)")
    port, folder = 18101, WORK / "nginx"
    folder.mkdir(parents=True, exist_ok=True)
    temp = "".join(
        f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    servers = " ".join(f"server 127.0.0.1:{upstream};" for upstream in UPSTREAMS)
    config = folder / "nginx.conf"
    config.write_text(f"""
daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000;
error_log {folder}/error.log warn; pid {folder}/nginx.pid;
events {{ worker_connections 19900; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; client_body_buffer_size 1m; {temp}
  upstream replicas {{ {servers} keepalive 512; keepalive_requests 100000000; keepalive_timeout 600s; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://replicas; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
""")
    return Gateway("nginx", port, [exe, "-p", str(folder), "-c", str(config)])


def _envoy() -> Gateway:
    port, config = 18103, WORK / "envoy.json"
    exe = Path(sysconfig.get_path("purelib")) / "envoy" / "_bin" / "envoy"
    if not exe.exists():
        raise Missing("envoy is not installed (make bench installs it from requirements-bench.txt)")
    WORK.mkdir(parents=True, exist_ok=True)
    config.write_text(json.dumps(_envoy_config(port), indent=1))
    return Gateway("envoy", port, [str(exe), "-c", str(config), "--concurrency", "1", "-l", "warn", "--base-id", "77"])


def _envoy_config(port: int) -> dict[str, object]:
    filters = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "codec_type": "HTTP1",
        "generate_request_id": False,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "replicas", "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{filters}.http.router.v3.Router"}}
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    bound = 100_000
    cluster = {
        "name": "replicas",
        "connect_timeout": "5s",
        "type": "STATIC",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {
            "thresholds": [{"max_connections": bound, "max_pending_requests": bound, "max_requests": bound}]
        },
        "load_assignment": {
            "cluster_name": "replicas",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _socket(u)}} for u in UPSTREAMS]}],
        },
    }
    listener = {"address": _socket(port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _socket(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
