"""`python -m bench.request_cost`: what a request costs the gateway in Python, without any socket.

A whole Gateway as `bench/penstock.yaml` describes it, but its connections lead nowhere: a request's bytes are handed to
a client's connection, what goes to a replica is answered at once with the same bytes, and the turn's writes are thrown
away. So it is everything but the kernel and the event loop: heads, body, decisions, journal, metrics, answer. The
fastest of several rounds is kept; under `valgrind --tool=callgrind` two runs of different length tell the instructions.

`--accounted`: in turn with the same where every call is held against limits and a budget, and written into a ledger's
journal before its answer leaves (`bench/accounted.yaml`). The clerk, which carries rows into the database beside, does
not run: `bench.ledger_cost` measures it.
"""

import argparse
import asyncio
import gc
import os
import tempfile
import time
from pathlib import Path

import uvloop

from bench.gateways import KEY
from bench.scenarios import PLAIN, long_body
from penstock.config.load import load_file
from penstock.core.events import FleetSeen, Probed
from penstock.gateway.build import Gateway
from penstock.gateway.client.inbound import Inbound
from penstock.gateway.fleet.pool import Upstream
from penstock.gateway.ledger import open_ledger

SIZES = {"small": 0, "8k": 8_000, "400k": 400_000}
PLAINLY, ACCOUNTED = "penstock.yaml", "accounted.yaml"
CONNECTIONS = 64
_JSON = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"mock-model","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"%b"},"finish_reason":"stop"}],"usage":{"prompt_tokens":100,'
    b'"completion_tokens":50,"total_tokens":150}}'
) % (b"word " * 60)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(_JSON), _JSON)


class Nowhere(asyncio.Transport):
    """A connection that takes everything and leads nowhere."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.written = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Throw it away."""
        self.written += len(data)

    def writelines(self, list_of_data: object) -> None:
        """The same with several."""
        self.written += sum(map(len, list_of_data))  # type: ignore[call-overload]

    def is_closing(self) -> bool:
        """It is always open."""
        return False

    def get_write_buffer_size(self) -> int:
        """Nothing ever waits."""
        return 0


class Bench:
    """A gateway with clients and idle connections to its replicas."""

    def __init__(self, file: str = PLAINLY, ledger: str = "") -> None:
        """`ledger`: the folder of the one that the file wants."""
        settings = load_file(Path(__file__).parent / file, {**os.environ, "LEDGER": ledger})
        self.gateway = Gateway(settings, seed=1)
        if settings.server.ledger is not None:
            self.gateway.ledger = open_ledger(settings.server.ledger, self.gateway.plane.outbox, time.time)
            self.gateway.journal.observers.append(self.gateway.ledger.observe)
        self.gateway.pump.tell(FleetSeen(settings.replicas))
        for replica in settings.replicas:
            self.gateway.pump.tell(Probed(replica.id, ok=True))
        self.upstreams: list[Upstream] = []
        for pool in self.gateway.plane.outbound.pools.values():
            for _ in range(CONNECTIONS):
                conn = Upstream(pool)
                conn.open = True
                conn.transport = Nowhere()
                pool.outbound.open += 1
                pool.give(conn)
                self.upstreams.append(conn)
        self.clients = [Inbound(self.gateway.plane) for _ in range(CONNECTIONS)]
        for client in self.clients:
            client.connection_made(Nowhere())

    def round(self, request: bytes) -> None:
        """Every client asks, the turn ends, every replica answers, the turn ends."""
        flush = self.gateway.plane.outbox.flush
        for client in self.clients:
            client.data_received(bytes(memoryview(request)))
        flush()
        for conn in self.upstreams:
            if conn.attempt is not None:
                conn.data_received(ANSWER)
        flush()

    @property
    def answered(self) -> int:
        """Answers so far, by the meter."""
        return sum(count[0] for key, count in self.gateway.meter.calls.items() if key[2] == "ok")


def request_of(size: int) -> bytes:
    """A request with a body of so many bytes; 0: the short one."""
    content = long_body(size) if size else PLAIN
    return b"".join((
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:18080\r\nContent-Type: application/json\r\n",
        b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n" % (KEY.encode(), len(content)), content,
    ))  # fmt: skip


async def cost_us(size: int, rounds: int, turns: int, file: str = PLAINLY) -> float:
    """Microseconds of CPU for a request: the mean of the fastest of so many rounds."""
    with tempfile.TemporaryDirectory() as folder:
        return _cost_us(Bench(file, folder), request_of(size), rounds, turns)


def _cost_us(bench: Bench, request: bytes, rounds: int, turns: int) -> float:
    bench.round(request)
    gc.collect()
    best = float("inf")
    for _ in range(rounds):
        before = time.thread_time()
        for _ in range(turns):
            bench.round(request)
        best = min(best, (time.thread_time() - before) / turns / CONNECTIONS)
    done, meant = bench.answered, (rounds * turns + 1) * CONNECTIONS
    if done != meant:
        raise RuntimeError(f"{done} of {meant} requests were answered")
    return best * 1e6


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(prog="python -m bench.request_cost", description=__doc__)
    parser.add_argument("--sizes", default="small,8k", help=f"of {', '.join(SIZES)}")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--turns", type=int, default=1, help=f"of {CONNECTIONS} requests in a round")
    parser.add_argument("--accounted", action="store_true", help="beside it with limits, a budget and a ledger")
    parser.add_argument("--repeats", type=int, default=1)
    asked = parser.parse_args()
    files = (PLAINLY, ACCOUNTED) if asked.accounted else (PLAINLY,)
    for name in asked.sizes.split(",") * asked.repeats:
        found = [uvloop.run(cost_us(SIZES[name], asked.rounds, asked.turns, file)) for file in files]
        print(f"{name:>6}: {', '.join(f'{one:6.1f} µs' for one in found)}", flush=True)


if __name__ == "__main__":
    main()
