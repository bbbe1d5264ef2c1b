"""Trails of calls of which two attempts ran at once."""

from typing import Any

from penstock.core.events import Began, Failed, Woke
from penstock.core.gate import Gate
from penstock.core.spec import ExplainSpec, HedgeSpec
from penstock.core.steps import Chosen, Hedged, Stopped
from penstock.telemetry.explain import explain
from tests.core.playbook import HEDGE, arrived, fleet, gate, pool, tell


def hedging(*ids: str, hedge: HedgeSpec = HEDGE, **fields: Any) -> Gate:
    """A Gate that remembers, in which c1 runs at `a` since 0.0 and it is 0.5."""
    made = gate(pool(hedge=hedge, **fields), explain=ExplainSpec())
    tell(made, fleet(*ids), arrived("c1"), now=0.0)
    made.on(Woke(), 0.5)
    return made


def kinds(machine: Gate) -> list[str]:
    """The steps of c1."""
    trail = machine.trail("c1", 9.0)
    assert trail is not None
    return [type(step).__name__ for step in trail.steps()]


def test_a_second_attempt_beside_the_first() -> None:
    """Why there are two, where the second went and who could not have it, and who was let go."""
    machine = hedging("a", "b")
    machine.on(Began("c1", 2), 0.75)
    assert kinds(machine) == ["Chosen", "Hedged", "Chosen", "Stopped"]
    trail = machine.trail("c1", 9.0)
    assert trail is not None
    _, hedged, second, stopped = trail.steps()
    assert isinstance(hedged, Hedged)
    assert hedged.what == "sent"
    assert isinstance(second, Chosen)
    assert (second.attempt, second.replica, second.left) == (2, "b", ("a", "has the first attempt"))
    assert isinstance(stopped, Stopped)
    assert (stopped.at, stopped.attempt, stopped.replica) == (0.75, 1, "a")
    said = explain(trail).summary
    assert "Slow to begin: a second attempt was made beside it (hedge)." in said
    assert "Attempt 1 at a is let go: the other one began first." in said


def test_one_of_two_fails() -> None:
    """It is lost like any other attempt."""
    machine = hedging("a", "b")
    machine.on(Failed("c1", 1, "upstream_5xx", 500), 0.75)
    assert kinds(machine) == ["Chosen", "Hedged", "Chosen", "Lost"]


def test_why_there_was_no_hedge() -> None:
    """No room, or no budget."""
    for machine, what in (
        (hedging("a"), "no_room"),
        (hedging("a", "b", hedge=HedgeSpec(delay_s=0.5, budget=0.0)), "no_budget"),
    ):
        trail = machine.trail("c1", 9.0)
        assert trail is not None
        assert [step.what for step in trail.steps() if isinstance(step, Hedged)] == [what]
