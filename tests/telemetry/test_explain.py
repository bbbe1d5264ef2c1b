"""Explanations made of trails: candidates, timeline, lists and filters."""

from typing import Any

import msgspec
import pytest

from penstock.base.nouns import Usage
from penstock.core.events import Began, Ended, Failed, Observed
from penstock.core.gate import Gate
from penstock.core.route.presets import Adaptive
from penstock.core.spec import ExplainSpec, QueueSpec
from penstock.telemetry.explain import explain, newest
from penstock.telemetry.explained import Candidate, Explanation, LeftOut, Weight
from tests.core.playbook import arrived, fleet, gate, pool, stats, tell


def remembering(*ids: str, seats: int = 1, **fields: Any) -> Gate:
    """A Gate of the pool `main` with these replicas, that remembers."""
    made = gate(pool(**fields), explain=ExplainSpec())
    made.on(fleet(*ids, max_concurrent_requests=seats), 0.0)
    return made


def explained(machine: Gate, id: str, now: float = 99.0) -> Explanation:
    """A call's explanation."""
    trail = machine.trail(id, now)
    assert trail is not None
    return explain(trail)


def test_candidates_have_their_scores_by_name() -> None:
    """The weighted sum, every scorer's number by its name, the best first, and who was chosen."""
    machine = remembering("a", "b", seats=10, strategy=Adaptive(load=0.4))
    for name, usage in (("a", 0.5), ("b", 0.25)):
        machine.on(Observed(name, stats(waiting=0, kv_usage=usage)), 1.0)
    machine.on(arrived("c1"), 1.0)
    (choice,) = explained(machine, "c1").choices
    assert choice.scorers == [Weight("load", 0.4), Weight("latency", 0.3), Weight("errors", 0.2), Weight("gpu", 0.2)]
    assert choice.candidates == [
        Candidate(
            replica="b", chosen=True, total=1.05, scores={"load": 1.0, "latency": 1.0, "errors": 1.0, "gpu": 0.75}
        ),
        Candidate(
            replica="a", chosen=False, total=1.0, scores={"load": 1.0, "latency": 1.0, "errors": 1.0, "gpu": 0.5}
        ),
    ]
    assert (choice.how, choice.picker, choice.tied, choice.usable) == ("scores", "best", 1, 2)


def test_ties_are_counted() -> None:
    """Three that are alike are three to draw from."""
    machine = remembering("a", "b", "c", seats=10, strategy=Adaptive())
    machine.on(arrived("c1"), 1.0)
    assert explained(machine, "c1").choices[0].tied == 3


def test_a_retry_is_two_choices() -> None:
    """Each attempt has its own, with who was left out of it."""
    machine = remembering("a", "b")
    machine.on(arrived("c1"), 1.0)
    tell(machine, Failed("c1", 1, "closed_early", 0), Began("c1", 2), now=2.0)
    machine.on(Ended("c1", 2, 200, Usage(10, 5)), 3.0)
    found = explained(machine, "c1")
    assert [(choice.attempt, choice.replica, choice.at_s) for choice in found.choices] == [(1, "a", 0.0), (2, "b", 1.0)]
    assert found.choices[1].left_out == [LeftOut("a", "tried before")]
    assert (found.replica, found.attempts, found.usage) == ("b", 2, Usage(10, 5))


def test_the_timeline_is_in_order() -> None:
    """From the arrival to the end, with seconds after the arrival."""
    machine = remembering("a")
    machine.on(arrived("c1"), 1.0)
    machine.on(arrived("c2", tenant="t"), 2.0)
    machine.on(Ended("c1", 1, 200), 3.0)
    machine.on(Began("c2", 1), 3.5)
    machine.on(Ended("c2", 1, 200), 4.0)
    assert [(moment.at_s, moment.what, moment.text) for moment in explained(machine, "c2").timeline] == [
        (0.0, "arrived", "arrived from t"),
        (0.0, "queued", "joins the queue of main: no free seat; nobody waited"),
        (1.0, "unqueued", "leaves the queue: 0 calls stayed; meanwhile no other got a seat"),
        (1.0, "chosen", "attempt 1 goes to a (least_connections), out of 1 usable"),
        (1.5, "began", "the answer began"),
        (2.0, "over", "answered, status 200"),
    ]


def test_a_call_that_waits_is_explained_too() -> None:
    """It has no end yet, and no choice."""
    machine = remembering("a")
    tell(machine, arrived("c1"), arrived("c2"), now=1.0)
    found = explained(machine, "c2", now=3.0)
    assert (found.over, found.outcome, found.choices, found.latency_s) == (False, "queued", [], 2.0)
    assert (found.timeline[-1].what, found.timeline[-1].text) == ("now", "still queued")


def test_an_explanation_is_json_and_back() -> None:
    """What the admin API writes, the command line reads."""
    machine = remembering("a", "b", queue=QueueSpec(max=1))
    tell(machine, *(arrived(f"c{number}") for number in range(4)), now=1.0)
    for number in range(4):
        found = explained(machine, f"c{number}")
        assert msgspec.json.decode(msgspec.json.encode(found), type=Explanation) == found


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({}, ["c3", "c2", "c1"]),
        ({"tenant": "x"}, ["c2"]),
        ({"replica": "a"}, ["c2", "c1"]),
        ({"model": "no"}, ["c3"]),
        ({"outcome": "ok"}, ["c2", "c1"]),
        ({"outcome": "error"}, ["c3"]),
        ({"outcome": "model_not_found"}, ["c3"]),
        ({"outcome": "ok", "tenant": "y"}, []),
    ],
)
def test_the_last_calls_by_what_they_are(wanted: dict[str, str], ids: list[str]) -> None:
    """Newest first; filters all hold at once; `error` is whatever did not end well."""
    machine = remembering("a")
    tell(machine, arrived("c1"), Ended("c1", 1, 200), arrived("c2", tenant="x"), Ended("c2", 1, 200), now=1.0)
    machine.on(arrived("c3", model="no"), 2.0)
    assert [call.id for call in newest(machine.trails(), 10, **wanted)] == ids
    assert [call.id for call in newest(machine.trails(), 1, **wanted)] == ids[:1]
