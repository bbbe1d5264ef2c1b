"""The facts are one closed vocabulary that a journal can keep and give back."""

from typing import get_args

import msgspec
import pytest

from penstock.base.entries import Used
from penstock.base.leases import Answer, Grant
from penstock.base.nouns import EngineStats, GpuReading, Usage
from penstock.core.events import (
    Began,
    Benched,
    ClientGone,
    Compared,
    Ended,
    Event,
    Failed,
    Found,
    Invalidated,
    Leased,
    LeaseLost,
    Listed,
    LookedUp,
    Metered,
    Observed,
    Probed,
    Recalled,
    Reconfigured,
    Unwanted,
    Wanted,
    Woke,
)
from penstock.core.gate import Gate
from penstock.core.spec import GateSpec
from tests.core.playbook import arrived, fleet, gate, pool

ONE_OF_EACH: list[Event] = [
    arrived("c1", client_id="x", max_tokens=7),
    Began("c1", 1),
    Ended("c1", 1, 200, Usage(1, 2, 3), 4),
    Failed("c1", 1, "upstream_busy", 429, 3.0, 2),
    ClientGone("c1", 5),
    fleet("a", "b", models={"m": "x"}),
    Probed("a", False, "refused"),
    Observed("a", EngineStats(waiting=3)),
    Metered("a", (GpuReading(index=0, uuid="GPU-1", utilisation=0.5),)),
    Listed("a", ("m",)),
    Benched("a", 1, True, 0.2, 50.0),
    Leased(1, 5.0, (Answer(("tenant", "t", ""), 1.0, (Grant("requests per minute", 3, 5, 4, 0.0, 61.0),)),)),
    LeaseLost(2, "TimeoutError"),
    Recalled((Used("acme", "web", "m", -60.0, 3, 400), Used("acme", "web", "m", 0.0, day=5, month=7))),
    Reconfigured(GateSpec(pools=(pool(),), fallback={"m": ("n",)})),
    LookedUp("c1", Found(100, 1.5, 60.0, ("t",))),
    LookedUp("c1", Found(100, 1.5, 60.0, ("t",), 3)),
    LookedUp("c1", None, "c0"),
    Wanted("1/7", "k", 2),
    Unwanted("1/7"),
    Compared("c1", "k", 0.93),
    Invalidated(tag="t", tenant="x"),
    Invalidated(mark=4),
    Woke(),
]


@pytest.mark.parametrize("fact", ONE_OF_EACH, ids=lambda fact: type(fact).__name__)
def test_a_fact_survives_being_written_and_read(fact: Event) -> None:
    """Encoded as JSON and decoded as an Event it is the same fact."""
    assert msgspec.json.decode(msgspec.json.encode(fact), type=Event) == fact


def test_the_gate_has_an_answer_to_every_fact() -> None:
    """No fact of the vocabulary is unknown to the Gate, and none of the list above is missing."""
    assert {type(fact) for fact in ONE_OF_EACH} == set(get_args(Event))
    machine: Gate = gate()
    for fact in ONE_OF_EACH:
        machine.on(fact, 0.0)


def test_facts_are_frozen() -> None:
    """What was told cannot be changed afterwards."""
    with pytest.raises(AttributeError):
        Began("c1", 1).attempt = 2  # type: ignore[misc]
