"""`python -m bench.ledger_truth URL`: is a ledger what a real vLLM says that it did?

A gateway over that engine, with ledger and cache, and mixed callers in two phases, so that the engine's own counters
can be read between them:

`whole`: whole answers, streams, completions, questions that repeat themselves, crowds with one question; nobody leaves.
What the ledger has must be what the engine has counted, prompts and answers, to the token.

`leaving`: streams that are left, after a time that is drawn or after some events, crowds whose first client leaves, and
some that stay. What was delivered is at most what the ledger has, and that at most what the engine has generated.

Nobody else may use the engine meanwhile. Prints JSON.
"""

import argparse
import asyncio
import itertools
import json
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from bench.prefix_cache import ask, counted
from tests.helpers.audit import tokens_in
from tests.helpers.processes import Gateway, ending, until
from tests.helpers.traffic import CHAT, at_rest, eventually, pool, post, ready, said
from tests.helpers.wire import Answer, Client, run

KEYS = {name: f"sk-{name}-0123456789abcdef" for name in ("acme", "beta")}
KINDS = {
    "whole": {"whole": 30, "stream": 40, "completion": 10, "question": 60, "crowd": 4},
    "leaving": {
        "stream": 10, "leaves in time": 30, "leaves in the middle": 40, "leaves at the end": 10, "crowd is left": 6,
    },
}  # fmt: skip
"""What is drawn in each phase, and how often."""
QUESTIONS, CROWD = 25, 6
LEAVE_S = 1.0
"""Who leaves in time does so within so long."""
PROMPT, GENERATED = "vllm:prompt_tokens_total", "vllm:generation_tokens_total"
BUSY = ("vllm:num_requests_running", "vllm:num_requests_waiting")
MOST_S = 900.0


class Known(NamedTuple):
    """What the client of one call knows."""

    phase: str
    kind: str
    completed: bool
    delivered: int
    """Pieces of a stream that it has seen."""
    usage: tuple[int, int] | None


class Row(NamedTuple):
    """A call as the ledger has it."""

    client_id: str
    prompt_tokens: int
    completion_tokens: int
    estimated: int
    outcome: str
    cache: str


class Callers:
    """Of one gateway."""

    def __init__(self, port: int, model: str, seed: int) -> None:
        self._port, self._model = port, model
        self._rng = Random(seed)
        self._numbers = itertools.count(1)
        self.known: dict[str, Known] = {}

    async def phase(self, name: str, calls: int, users: int = 8) -> None:
        """So many draws; a crowd is one."""
        drawn = iter(self._rng.choices(list(KINDS[name]), list(KINDS[name].values()), k=calls))

        async def user() -> None:
            for kind in drawn:
                await self._draw(name, kind)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(users):
                tasks.create_task(user())

    async def _draw(self, phase: str, kind: str) -> None:
        if not kind.startswith("crowd"):
            number = self._rng.randrange(QUESTIONS) if kind == "question" else 0
            await self._one(phase, kind, number, self._rng.choice(list(KEYS)))
            return
        number, tenant = next(self._numbers) + QUESTIONS, self._rng.choice(list(KEYS))
        kinds = ["leaves a crowd" if kind == "crowd is left" and at < 2 else "crowd" for at in range(CROWD)]
        await asyncio.gather(*[self._one(phase, each, number, tenant) for each in kinds])

    async def _one(self, phase: str, kind: str, number: int, tenant: str) -> None:
        name = f"truth-{next(self._numbers)}"
        body, path = self._body(kind, number, name)
        async with Client(self._port) as client:
            client.send(post(json.dumps(body).encode(), path, KEYS[tenant], name))
            if kind == "leaves in time":
                delivered = await _within(client, self._rng.random() * LEAVE_S)
            elif kind in ("leaves in the middle", "leaves a crowd"):
                delivered = await _events(client, 1 + self._rng.randrange(20))
            else:
                answer = await client.answer()
                if answer.status != 200 or not answer.complete:
                    raise RuntimeError(f"{name} ({kind}): {answer.status} {answer.body[-300:]!r}")
                if kind == "leaves at the end":
                    client.reset()
                self.known[name] = Known(phase, kind, True, tokens_in(answer.body), usage_of(answer))
                return
            if self._rng.random() < 0.5:
                client.reset()
        self.known[name] = Known(phase, kind, False, delivered, None)

    def _body(self, kind: str, number: int, name: str) -> tuple[dict[str, Any], str]:
        """What is asked, and where. An answer's length is what was asked for."""
        rng = self._rng
        stream = kind not in ("whole", "completion") and (kind != "question" or number % 2 > 0)
        about: dict[str, Any] = {"model": self._model, "stream": stream, "ignore_eos": True}
        if number:  # determined
            about |= {"temperature": 0, "max_tokens": 10 + number % 30}
            text = f"question {number} " + "and more " * (number % 20)
        else:
            about["max_tokens"] = 60 if kind.startswith("leaves") else rng.randrange(5, 50)
            text = f"{name} " + "some words " * rng.randrange(1, 60)
        if stream and not kind.startswith("leaves") and (number or rng.random() * 2) % 2 < 1:
            about["stream_options"] = {"include_usage": True}
        if kind == "completion":
            return {**about, "prompt": text}, "/v1/completions"
        return {**about, "messages": [{"role": "user", "content": text}]}, CHAT


async def _within(client: Client, seconds: float) -> int:
    """Pieces that have come before it leaves."""
    got = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while more := await client.reader.read(1 << 16):
                got += more
    except TimeoutError:
        pass
    return _pieces(bytes(got))


async def _events(client: Client, count: int) -> int:
    """Pieces of so many events, and of the stream's end if that comes before."""
    got = bytearray()
    for _ in range(count):
        got += await client.reader.readuntil(b"\n\n")
        if got.endswith(b"[DONE]\n\n"):
            break
    return _pieces(bytes(got))


def _pieces(raw: bytes) -> int:
    at = raw.find(b"data:")
    return tokens_in(raw[at:]) if at >= 0 else 0


def usage_of(answer: Answer) -> tuple[int, int] | None:
    """As the answer says; none: it does not."""
    lines = answer.body.split(b"\n\n") if answer.body.startswith(b"data:") else [b"data: " + answer.body]
    for line in reversed(lines):
        if b'"usage":{' in line.replace(b": {", b":{"):
            told = json.loads(line.removeprefix(b"data: "))["usage"]
            return told["prompt_tokens"], told["completion_tokens"]
    return None


def counters(engine: str) -> tuple[int, int]:
    """Tokens that an engine has read and generated, once it works on nothing. Raises AssertionError after a minute."""
    page = b""

    def idle() -> bool:
        nonlocal page
        page = ask(engine, "/metrics")
        return not any(counted(page, name) for name in BUSY)

    until(idle, 60.0, lambda: "an engine that works on nothing")
    return counted(page, PROMPT), counted(page, GENERATED)


def measure(engine: str, calls: int, seed: int, folder: Path) -> dict[str, Any]:
    """Both phases, and what each account says of them."""
    model = json.loads(ask(engine, "/v1/models"))["data"][0]["id"]
    tree = {
        "pools": [pool(engine, models=(model,))], "cache": {}, "ledger": {"folder": str(folder / "ledger")},
        "keys": [{"name": name, "key": key} for name, key in KEYS.items()], "log": {"access": False},
    }  # fmt: skip
    engines: dict[str, tuple[int, int]] = {}
    with ending(gateway := Gateway(folder, tree)):
        callers = Callers(gateway.port, model, seed)

        async def one(phase: str) -> None:
            await ready(gateway)
            await callers.phase(phase, calls)
            await at_rest(gateway, 60.0)

            async def written() -> bool:
                found = await said(gateway.admin_port, "/admin/ledger")
                return int(found["written"]) >= len(callers.known)

            await eventually(written, "all rows", 60.0)

        for phase in KINDS:
            before = counters(engine)
            run(lambda phase=phase: one(phase), MOST_S)  # type: ignore[misc]
            after = counters(engine)
            engines[phase] = after[0] - before[0], after[1] - before[1]
        if gateway.stop() != 0:
            raise RuntimeError(gateway.log())
    with closing(sqlite3.connect(folder / "ledger" / "ledger.db")) as base:
        rows = [Row(*found) for found in base.execute(f"SELECT {', '.join(Row._fields)} FROM calls")]
    if sorted(row.client_id for row in rows) != sorted(callers.known):
        raise RuntimeError("the ledger has not each call once")
    return {phase: account(phase, engines[phase], rows, callers.known) for phase in KINDS}


def account(phase: str, engine: tuple[int, int], rows: list[Row], known: dict[str, Known]) -> dict[str, Any]:
    """One phase: the engine's tokens, the ledger's, and what does not fit of single calls."""
    pairs = [(row, known[row.client_id]) for row in rows if known[row.client_id].phase == phase]
    ours = sum(row.prompt_tokens for row, _ in pairs), sum(row.completion_tokens for row, _ in pairs)
    paying = [(row, mine) for row, mine in pairs if row.cache not in ("hit", "coalesced")]
    given = [row for row, _ in pairs if row.cache in ("hit", "coalesced")]
    told = [(row, mine.usage) for row, mine in paying if mine.usage is not None]
    # what is made for a crowd is paid by one that stays
    left = [(row, mine) for row, mine in paying if row.outcome != "ok" and mine.kind != "leaves a crowd"]
    return {
        "calls": len(pairs), "cache": dict(Counter(row.cache for row, _ in pairs)),
        "kinds": dict(Counter(mine.kind for _, mine in pairs)),
        "engine": {"prompt": engine[0], "completion": engine[1]}, "ledger": {"prompt": ours[0], "completion": ours[1]},
        "gap": round(1 - sum(ours) / max(1, sum(engine)), 5),
        "usages_told": len(told),
        "usages_that_differ": sum((row.prompt_tokens, row.completion_tokens) != usage for row, usage in told),
        "given_that_cost": sum(row.prompt_tokens + row.completion_tokens > 0 for row in given),
        "completed_that_are_estimated": sum(row.estimated for row, mine in pairs if mine.completed),
        "left": len(left), "left_delivered": sum(mine.delivered for _, mine in left),
        "left_ledger": sum(row.completion_tokens for row, _ in left),
        "left_less_than_delivered": sum(row.completion_tokens < mine.delivered for row, mine in left),
    }  # fmt: skip


def main() -> None:
    """Measure, print JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger_truth", description=__doc__)
    parser.add_argument("engine", help="address of a vLLM that nobody else uses")
    parser.add_argument("--calls", type=int, default=300, help="draws of each phase; a crowd is one")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(asked.engine, asked.calls, asked.seed, Path(folder))
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    print(json.dumps({"scenario": "ledger truth", "engine": asked.engine, **found}, indent=1))


if __name__ == "__main__":
    main()
