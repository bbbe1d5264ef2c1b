"""`python -m bench.prefix_cache http://127.0.0.1:8001 http://127.0.0.1:8002`: prefix-cache hits of real vLLMs.

Prompts of a few prefixes come in random order through a gateway of ours; how many tokens the engines found cached is
read from their own counters, and what the gateway had estimated from its. To see a difference the prefixes together
must not fit into one engine's KV cache: start vLLM with, for instance, `--num-gpu-blocks-override 64`. Each run has
prefixes of its own, so that it finds nothing of the runs before it.
"""

import argparse
import http.client
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml

from bench.processes import stop

WORDS = (
    "the of and to in is you that it was for on are with as his they be at one have this from or had by hot word but "
    "what some we can out other were all there when up use your how said an each she"
).split()
START_S = 30.0
SETTLE_S = 1.5
"""Until engines' counters and ours have been written."""
HITS, QUERIES = "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"


class Load(NamedTuple):
    """What is asked."""

    model: str
    prefixes: int = 16
    prefix_tokens: int = 768
    requests: int = 320
    clients: int = 4
    """Requests in flight, all together."""
    seats: int = 8
    """Of each replica."""
    answer_tokens: int = 4
    max_overtaken: int | None = None
    """A setting of the strategies that know prefixes; None: their own."""


class Outcome(NamedTuple):
    """What came of one run."""

    strategy: str
    seed: int
    queries: int
    hits: int
    estimate: int
    spread: float
    """Tokens that the busiest engine looked up, over the mean."""

    @property
    def share(self) -> float:
        """Of the prompts' tokens, how many were cached."""
        return self.hits / max(1, self.queries)


def ask(url: str, path: str, body: dict[str, Any] | None = None) -> bytes:
    """One request. Raises RuntimeError unless the answer is good."""
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname or "127.0.0.1", at.port, timeout=120)
    try:
        payload = None if body is None else json.dumps(body).encode()
        connection.request("GET" if body is None else "POST", path, payload, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{url}{path}: {answer.status} {content[:300]!r}")
        return content
    finally:
        connection.close()


def counted(page: bytes, name: str) -> int:
    """The sum of a counter's samples on a metrics page."""
    return int(
        sum(
            float(value)
            for value in re.findall(rf"^{re.escape(name)}(?:{{[^\n]*}})? (\S+)", page.decode(), re.MULTILINE)
        )
    )


def text(engine: str, model: str, rng: random.Random, tokens: int) -> str:
    """Random words of exactly so many tokens, as this engine counts them."""

    def size(words: list[str]) -> int:
        body = {"model": model, "prompt": " ".join(words), "add_special_tokens": False}
        return int(json.loads(ask(engine, "/tokenize", body))["count"])

    words: list[str] = []
    short = tokens
    while short > 0:
        words += rng.choices(WORDS, k=max(1, short // 3))
        short = tokens - size(words)
    while size(words) > tokens:
        words.pop()
    return " ".join(words) + " a" * (tokens - size(words))


def strategy_tree(strategy: str, load: Load) -> dict[str, Any]:
    """The strategy as a file has it."""
    reads = load.max_overtaken is not None and strategy in ("prefix_aware", "adaptive")
    return {"kind": strategy, **({"max_overtaken": load.max_overtaken} if reads else {})}


@contextmanager
def gateway(engines: list[str], strategy: str | dict[str, Any], seats: int) -> Iterator[tuple[str, str]]:
    """A gateway over these engines while it is needed: its address, and that of its metrics."""
    with tempfile.TemporaryDirectory() as folder:
        ports = _free_ports(2)
        tree = {
            "listen": f"127.0.0.1:{ports[0]}",
            "admin": f"127.0.0.1:{ports[1]}",
            "log": {"level": "warning"},
            "pools": [
                {
                    "name": "vllm",
                    "strategy": strategy,
                    "replicas": [{"url": url, "engine": "vllm", "max_concurrent_requests": seats} for url in engines],
                }
            ],
        }
        file = Path(folder) / "gateway.yaml"
        file.write_text(yaml.safe_dump(tree))
        urls = f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
        with (Path(folder) / "log").open("wb") as log:
            command = [sys.executable, "-m", "penstock", "serve", "--config", str(file)]
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _await_replicas(urls[1], len(engines))
            yield urls
        finally:
            stop(process)


def _await_replicas(admin: str, count: int) -> None:
    """Wait until the gateway knows that all of its engines are well. Raises RuntimeError after 30 s."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        try:
            if counted(ask(admin, "/metrics"), "penstock_pool_healthy_replicas") == count:
                return
        except (OSError, RuntimeError):
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the gateway did not find {count} healthy engines")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def prompts(engine: str, load: Load, seed: int) -> list[str]:
    """Each prefix as often as the others, in the order that the seed gives, each time with another question.

    The texts themselves are new each time: nothing is left of them in any cache."""
    turns = [number % load.prefixes for number in range(load.requests)]
    random.Random(seed).shuffle(turns)
    rng = random.Random()
    prefixes = [text(engine, load.model, rng, load.prefix_tokens) for _ in range(load.prefixes)]
    return [f"{prefixes[number]} {' '.join(rng.choices(WORDS, k=12))}" for number in turns]


def run(engines: list[str], strategy: str, load: Load, seed: int) -> Outcome:
    """One strategy over one order of prompts. Raises RuntimeError when a request fails."""
    todo: SimpleQueue[str] = SimpleQueue()
    for prompt in prompts(engines[0], load, seed):
        todo.put(prompt)
    wrong: list[str] = []
    before = [counters(engine) for engine in engines]
    with gateway(engines, strategy_tree(strategy, load), load.seats) as (url, admin):
        clients = [threading.Thread(target=_client, args=(url, load, todo, wrong)) for _ in range(load.clients)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        if wrong:
            raise RuntimeError(wrong[0])
        time.sleep(SETTLE_S)
        estimate = _estimate(ask(admin, "/metrics"))
    after = [counters(engine) for engine in engines]
    queries = [late[0] - early[0] for early, late in zip(before, after, strict=True)]
    hits = sum(late[1] - early[1] for early, late in zip(before, after, strict=True))
    return Outcome(strategy, seed, sum(queries), hits, estimate, max(queries) * len(engines) / max(1, sum(queries)))


def counters(engine: str) -> tuple[int, int]:
    """Tokens that an engine looked up in its prefix cache, and found there."""
    page = ask(engine, "/metrics")
    return counted(page, QUERIES), counted(page, HITS)


def _estimate(page: bytes) -> int:
    lines = [line for line in page.decode().splitlines() if line.startswith("penstock_tokens_total")]
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if 'kind="cached_estimate"' in line)


def _client(url: str, load: Load, todo: SimpleQueue[str], wrong: list[str]) -> None:
    """One request after the other until none is left."""
    while not wrong:
        try:
            prompt = todo.get_nowait()
        except Empty:
            return
        body = {
            "model": load.model, "prompt": prompt, "max_tokens": load.answer_tokens, "temperature": 0,
            "ignore_eos": True,
        }  # fmt: skip
        try:
            ask(url, "/v1/completions", body)
        except (OSError, RuntimeError) as error:
            wrong.append(str(error))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.prefix_cache", description=__doc__)
    parser.add_argument("engines", nargs="+", help="addresses of vLLM servers of one model")
    parser.add_argument("--model", help="none: the first that the first engine lists")
    parser.add_argument("--strategies", default="round_robin,prefix_aware,adaptive")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--clients", type=int, default=4, help="requests in flight, all together")
    parser.add_argument("--seats", type=int, default=8, help="of each replica")
    parser.add_argument("--requests", type=int, default=320)
    parser.add_argument("--max-overtaken", type=int, help="of strategies that know prefixes; 0: strict order")
    asked = parser.parse_args()
    model = asked.model or json.loads(ask(asked.engines[0], "/v1/models"))["data"][0]["id"]
    load = Load(
        model, requests=asked.requests, clients=asked.clients, seats=asked.seats, max_overtaken=asked.max_overtaken
    )
    print("| strategy | seed | tokens looked up | found cached | share | estimated / found | busiest / mean |")
    print("|---|---|---|---|---|---|---|")
    for seed in map(int, asked.seeds.split(",")):
        for strategy in asked.strategies.split(","):
            one = run(asked.engines, strategy, load, seed)
            ratio = f"{one.estimate / one.hits:.3f}" if one.hits and one.estimate else "-"
            cells = (
                strategy,
                seed,
                f"{one.queries:,}",
                f"{one.hits:,}",
                f"{one.share:.3f}",
                ratio,
                f"{one.spread:.2f}",
            )
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
