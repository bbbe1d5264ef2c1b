"""An admin API that says what a test wants: an HTTP server on a free port, in a thread, pages by path."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from penstock.base.nouns import EngineStats, GpuReading, PoolView, ReplicaView
from penstock.gateway.admin.admin import error


class Desk:
    """Pages by path; a page is bytes, or something that becomes JSON, or a status with its message and code."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.pages: dict[str, Any] = {}
        self.asked: list[tuple[str, str]] = []
        """Paths, and the Authorization that was shown."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def answer(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        page = self.pages.get(path, (404, "There is nothing.", "not_found"))
        if isinstance(page, bytes):
            return 200, page
        if isinstance(page, tuple):
            return page[0], bytes(error(*page).body)
        return 200, msgspec.json.encode(page)


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """A server on a free port, until the end of the block: which one."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def desk() -> Iterator[Desk]:
    """One, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            made.asked.append((self.path, self.headers.get("authorization", "")))
            status, body = made.answer(self.path)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Handler) as port:
        made = Desk(port)
        yield made


def replica_view(id: str = "gpu1", **fields: Any) -> ReplicaView:
    """A healthy replica that has served 100 calls."""
    usual: dict[str, Any] = {
        "url": f"http://{id}", "pool": "main", "engine": "vllm", "models": ["m"], "state": "healthy",
        "breaker": "closed", "suspect": False, "in_flight": 2, "seats": 8, "load": 0.25, "ttft_ewma_s": 0.12,
        "error_rate": 0.0, "served": 100, "failed": 0, "stats_age_s": 1.0,
        "stats": EngineStats(running=2, waiting=1, kv_usage=0.5, prefix_queries=100, prefix_hits=25),
    }  # fmt: skip
    return ReplicaView(id=id, **{**usual, **fields})


def pool_view(name: str = "main", **fields: Any) -> PoolView:
    """A pool with three calls in its queue."""
    usual: dict[str, Any] = {
        "strategy": "adaptive", "models": ["m"], "queued": 3, "queued_bytes": 300, "oldest_s": 1.5,
        "queued_by_priority": {"critical": 0, "high": 1, "normal": 2, "low": 0, "batch": 0}, "in_flight": 2,
        "seats": 8, "replicas": 1, "healthy": 1, "fairness": 0.9, "saturation": 0.5,
    }  # fmt: skip
    return PoolView(name=name, **{**usual, **fields})


def gpu(utilisation: float, temperature_c: float) -> GpuReading:
    """A reading."""
    return GpuReading(index=0, uuid="GPU-1", utilisation=utilisation, temperature_c=temperature_c)


def metrics(
    ok: int = 0, failed: int = 0, mistakes: int = 0, tokens: int = 0, ttft: dict[str, int] | None = None
) -> bytes:
    """A page with so many calls: good ones, a replica's failures, clients' mistakes; tokens; TTFT by bound."""
    counts = {"ok": ok, "died_mid_answer": failed, "model_not_found": mistakes}
    lines = [f'penstock_requests_total{{pool="main",outcome="{name}"}} {count}' for name, count in counts.items()]
    lines += [f'penstock_tokens_total{{pool="main",kind="{kind}"}} {tokens}' for kind in ("prompt", "completion")]
    lines += [
        f'penstock_time_to_first_token_seconds_bucket{{pool="main",le="{bound}"}} {count}'
        for bound, count in (ttft or {}).items()
    ]
    return "\n".join([*lines, ""]).encode()


def pages(at: Desk, replicas: list[ReplicaView], pools: list[PoolView], page: bytes) -> None:
    """What `penstock top` asks for."""
    at.pages |= {"/admin/fleet": replicas, "/admin/queues": pools, "/metrics": page}
