"""Prompts through a running gateway: who begins alike goes to one replica, and nobody looks where nobody asks."""

from typing import Any

import pytest

from penstock.core.events import Arrived
from tests.gateway.test_build_sessions import Rig, rigged
from tests.helpers.wire import Client, request, run


async def ask(rig: Rig, path: str, field: str, prompt: str) -> str:
    """The replica that answered."""
    async with Client(rig.gateway.bound().server.listen[1]) as client:
        client.send(request(f'{{"model":"m","{field}":"{prompt}"}}'.encode(), path=path))
        got = await client.answer()
        assert got.status == 200
        return got.header("x-penstock-replica") or ""


def calls(rig: Rig) -> list[Arrived]:
    """The calls that the Gate was told of."""
    return [fact for _, fact, _ in rig.gateway.journal.turns() if isinstance(fact, Arrived)]


@pytest.mark.parametrize("strategy", ["prefix_aware", "adaptive", {"kind": "consistent_hash"}])
def test_prompts_that_begin_alike_go_to_one_replica(strategy: Any) -> None:
    """Three documents, each asked about five times in turn: each stays where it was first; the text is not kept."""

    went: dict[int, set[str]] = {0: set(), 1: set(), 2: set()}
    told: list[Arrived] = []

    async def main() -> None:
        async with rigged(strategy=strategy) as rig:
            for turn in range(15):
                document = f"document {turn % 3} " * 300
                went[turn % 3].add(await ask(rig, "/v1/completions", "prompt", f"{document} question {turn}"))
            told.extend(calls(rig))

    run(main)
    assert all(len(replicas) == 1 for replicas in went.values())
    assert [len(fact.call.prefix) for fact in told] == [10] * 15
    assert "document" not in repr(told)


def test_nobody_looks_where_nobody_asks() -> None:
    """Without a strategy that wants it, and for bodies that have no prompt, nothing is hashed."""

    told: list[tuple[tuple[int, ...], int]] = []

    async def main() -> None:
        for strategy, path in (
            ("adaptive_classic", "/v1/completions"),
            ({"kind": "adaptive", "prefix": 0}, "/v1/completions"),
            ("adaptive", "/v1/embeddings"),
        ):
            async with rigged(strategy=strategy) as rig:
                await ask(rig, path, "prompt", "x" * 5000)
                told.extend((fact.call.prefix, fact.call.prompt_bytes) for fact in calls(rig))

    run(main)
    assert told == [((), 0)] * 3
