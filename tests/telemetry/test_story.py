"""Plain words: one literal sentence for each way that a call can go."""

from typing import Any

import pytest

from penstock.core.events import Ended, Failed, FleetSeen, Observed, Probed
from penstock.core.gate import Gate
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, PriceSpec
from penstock.core.route.presets import (
    Adaptive,
    ConsistentHash,
    GpuAware,
    LeastConnections,
    P2CPeakEwma,
    PrefixAware,
    Random,
    RoundRobin,
    WeightedRoundRobin,
)
from penstock.core.spec import ExplainSpec, PanicSpec, ProbeSpec, QueueSpec, RetrySpec, StickySpec
from penstock.telemetry.explain import explain
from penstock.telemetry.story import count, listed, reason, seconds
from tests.core.playbook import USED, arrived, fleet, gate, pool, replica, stats, tell
from tests.core.test_ahead import asked


def remembering(*ids: str, seats: int = 1, **fields: Any) -> Gate:
    """A Gate of the pool `main` with these replicas, that remembers."""
    made = gate(pool(**fields), explain=ExplainSpec())
    made.on(fleet(*ids, max_concurrent_requests=seats), 0.0)
    return made


def summary(machine: Gate, id: str = "c1", now: float = 99.0) -> str:
    """What is said of a call."""
    trail = machine.trail(id, now)
    assert trail is not None
    return explain(trail).summary


def test_the_best_score() -> None:
    """The score, the runner-up, and what made the difference."""
    machine = remembering("a", "b", seats=10, strategy=Adaptive())
    for name, usage in (("a", 0.5), ("b", 0.25)):
        machine.on(Observed(name, stats(waiting=0, kv_usage=usage)), 1.0)
    tell(machine, arrived("c1"), Ended("c1", 1, 200), now=1.0)
    assert summary(machine) == (
        "b got it because it scored highest, 0.95 (a: 0.90), mostly by gpu: 0.75 (the other: 0.50)."
    )


def test_numbers_have_the_digits_that_tell_them_apart() -> None:
    """A narrow lead is shown as one, and not as two equal numbers."""
    machine = remembering("a", "b", seats=10, strategy=Adaptive())
    for name, usage in (("a", 0.5), ("b", 0.499)):
        machine.on(Observed(name, stats(waiting=0, kv_usage=usage)), 1.0)
    tell(machine, arrived("c1"), Ended("c1", 1, 200), now=1.0)
    assert "0.9002 (a: 0.9000), mostly by gpu: 0.501 (the other: 0.500)" in summary(machine)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (LeastConnections(), "a got it: 3 scored 1.00 alike, and the lowest id decided."),
        (Adaptive(), "a got it: 3 scored 1.00 alike, and the lot fell on it."),
        (RoundRobin(), "a got it: it was its turn (round_robin, 3 usable)."),
        (WeightedRoundRobin(), "a got it: it was its turn, by weight (weighted_round_robin, 3 usable)."),
        (Random(), "a got it: by lot (random, 3 usable)."),
    ],
)
def test_who_decides_between_equals(strategy: Any, expected: str) -> None:
    """The lowest id, the lot or the turn, whichever it was."""
    said = []
    for seed in range(20):
        machine = gate(pool(strategy=strategy), seed=seed, explain=ExplainSpec())
        tell(machine, fleet("a", "b", "c"), arrived("c1"), Ended("c1", 1, 200), now=1.0)
        said.append(summary(machine))
    assert next(text for text in said if text.startswith("a")) == expected


def test_two_that_were_drawn() -> None:
    """Power of two choices names both."""
    machine = remembering("a", "b", seats=4, strategy=P2CPeakEwma())
    tell(machine, arrived("c1"), Ended("c1", 1, 200), now=1.0)
    said = summary(machine)
    assert "of two that were drawn" in said
    assert "a (expected 1.00 s)" in said
    assert said.endswith("it was the cheaper one.")


def test_a_session_a_ring_and_the_only_one() -> None:
    """Other reasons than a score."""
    sticky = remembering("a", "b", seats=4, sticky=StickySpec(header="x"))
    tell(sticky, arrived("c0", session="s"), arrived("c1", session="s"), Ended("c1", 1, 200), now=1.0)
    assert summary(sticky) == "a got it because its session was there before."
    ring = remembering("a", "b", strategy=ConsistentHash())
    tell(ring, arrived("c1", user="u"), arrived("c2", user="u"), Ended("c1", 1, 200), Ended("c2", 1, 200), now=1.0)
    one, other = summary(ring)[0], summary(ring, "c2")[0]
    assert summary(ring) == f"{one} got it because its key (the user) belongs there."
    assert summary(ring, "c2") == (
        f"{other} got it: its key (the user) belongs to {one}, which was passed over. Left out: {one} (no free seat)."
    )
    only = remembering("a")
    tell(only, arrived("c1"), Ended("c1", 1, 200), now=1.0)
    assert summary(only) == "a got it because it was the only one that could take it."


def test_a_filter_that_left_nobody() -> None:
    """It is told to have been passed over."""
    machine = remembering("a", "b", strategy=GpuAware())
    for name in ("a", "b"):
        machine.on(Observed(name, stats(gpu_utilisation=0.99)), 1.0)
    tell(machine, arrived("c1"), Ended("c1", 1, 200), now=1.0)
    assert summary(machine).endswith("within_limits would have left nobody and was passed over.")


def test_a_wait() -> None:
    """How long, why, who was ahead, and who was served meanwhile."""
    machine = remembering("a")
    tell(machine, arrived("c1"), arrived("c2", tenant="x"), arrived("c3", priority=1), now=1.0)
    machine.on(arrived("c4", tenant="x"), 2.0)
    for at, id in ((3.0, "c1"), (4.0, "c3"), (5.0, "c2"), (6.0, "c4")):
        machine.on(Ended(id, 1, 200), at)
    assert summary(machine, "c4") == (
        "a got it because it was the only one that could take it."
        " It waited 3.00 s in the queue of main: others were waiting already; 1 call of a higher priority and 1 of its"
        " own waited before it, 1 of them its tenant's. Meanwhile 2 others (1 high, 1 normal) got a seat."
    )


def test_a_panic() -> None:
    """Why a replica that is not well got the call, and which of those that are asked as well had no room on trial."""
    machine = gate(pool(probe=ProbeSpec(), panic=PanicSpec()), explain=ExplainSpec())
    machine.on(fleet("a", "b", max_concurrent_requests=2), 0.0)
    tell(machine, *(Probed(each, ok) for each in ("a", "b") for ok in (True, False, False, False)), now=1.0)
    tell(machine, arrived("c1"), arrived("c2"), now=2.0)
    doubt = (
        "it is not well (unhealthy after 3 failed health probes in a row), but so few are that its pool panics"
        " and asks it all the same"
    )
    assert summary(machine, "c1") == (
        f"a got it: 2 scored 1.00 alike, and the lowest id decided; {doubt}."
        " It is still sent, 97.00 s after it arrived."
    )
    assert summary(machine, "c2") == (
        f"b got it because it was the only one that could take it; {doubt}."
        " Left out: a (unhealthy after 3 failed health probes in a row, on trial while its pool panics)."
        " It is still sent, 97.00 s after it arrived."
    )


def test_out_of_turn() -> None:
    """Who was served before whom for the sake of prefix caches is told of both."""
    machine = remembering("a", strategy=PrefixAware())
    machine.on(asked("p"), 0.0)
    tell(machine, asked("q2"), asked("p2"), now=1.0)
    for at, id in ((2.0, "p"), (3.0, "p2"), (4.0, "q2")):
        machine.on(Ended(id, 1, 200), at)
    assert summary(machine, "p2").endswith(
        "Meanwhile no other got a seat; it went before 1 earlier call of its tenant, by prefix cache."
    )
    assert summary(machine, "q2").endswith(
        "Meanwhile 1 other (1 normal) got a seat; 1 later call of its tenant went first, by prefix cache."
    )


def test_a_call_that_goes_on() -> None:
    """What it waits for, and for how long so far."""
    machine = remembering("a")
    tell(machine, arrived("c1"), arrived("c2"), now=1.0)
    assert summary(machine, "c2", 3.5) == (
        "It waits in the queue of main: no free seat; nobody was ahead of it."
        " It is still queued, 2.50 s after it arrived."
    )


def test_failures_and_their_end() -> None:
    """Which attempt failed how, why no further one was made, and what the client got."""
    machine = remembering("a", "b", retries=RetrySpec(budget=0, budget_min_per_s=0))
    machine.on(arrived("c1"), 1.0)
    machine.on(Failed("c1", 1, "closed_early"), 2.0)
    machine.on(Failed("c1", 2, "upstream_5xx", 500), 2.5)
    assert summary(machine) == (
        "b got it because it was the only one that could take it. Left out: a (tried before)."
        " Attempt 1 at a failed (closed_early); attempt 2 at b failed (upstream_5xx)."
        " No further attempt: the retry budget was spent."
        " It ended as upstream_5xx (status 500) after 1.50 s: The replica answered with an error."
    )


def test_a_refusal() -> None:
    """The bound that was met, with what was there."""
    machine = remembering("a", queue=QueueSpec(max=1))
    tell(machine, arrived("c1"), arrived("c2"), arrived("c3", priority=1), now=1.0)
    assert summary(machine, "c3") == (
        "The queue of main did not take it: queue_full (1 waiting in main, 0 of its priority, 1 of its tenant;"
        " 1 in all pools). It ended as queue_full (status 429) after 0 ms: The queue is full. Try again later."
    )


def test_nobody_can_serve() -> None:
    """Who could not, and why."""
    machine = gate(pool(), explain=ExplainSpec())
    machine.on(FleetSeen((replica("a", drain=True),)), 0.0)
    machine.on(arrived("c1"), 1.0)
    trail = machine.trail("c1", 2.0)
    assert trail is not None
    assert explain(trail).timeline[1].text == (
        "joins the queue of main: no replica could serve the model: a (draining); nobody waited"
    )


def test_small_words() -> None:
    """Times, counts and lists as people say them."""
    assert (seconds(0.0421), seconds(2.0)) == ("42 ms", "2.00 s")
    assert (count(1, "call"), count(1200, "call")) == ("1 call", "1,200 calls")
    pairs = tuple(part for number in range(7) for part in (f"r{number}", "full"))
    assert listed(pairs, 9) == "r0 (full), r1 (full), r2 (full), r3 (full), r4 (full) and 4 more"


def limited(prices: dict[str, PriceSpec], **allowance: object) -> Gate:
    """A Gate that remembers, and holds its only tenant to this."""
    limits = LimitsSpec(everybody=AllowanceSpec(**allowance), prices=prices)  # type: ignore[arg-type]
    made = gate(pool(), explain=ExplainSpec(), limits=limits, max_waiting=9)
    made.on(fleet("a", max_concurrent_requests=9), 0.0)
    return made


def test_a_limit_that_refuses_is_named_with_its_numbers() -> None:
    """Whose, which, how much of it is used."""
    machine = limited({}, requests_per_minute=1)
    tell(machine, arrived("c1"), arrived("c2"), now=1.0)
    assert summary(machine, "c2") == (
        "The limit of everybody on requests per minute (1) does not let it pass: 1 used. "
        "It ended as request_limit (status 429) after 0 ms: Too many requests. Try again later."
    )


def test_a_limit_that_lets_wait_is_told_too() -> None:
    """What is held, and that it was let in."""
    machine = limited({}, tokens_per_minute=100)
    for name in ("c1", "c2"):
        machine.on(arrived(name, prompt_tokens=5, max_tokens=60), 1.0)
    machine.on(Ended("c1", 1, 200, USED), 2.0)
    assert (
        "The limit of everybody on tokens per minute (100) does not let it pass: 80 used, 80 of them held by calls in "
        "flight, 80 needed; it waits. Its limits let it pass."
    ) in summary(machine, "c2")


def test_a_model_without_a_price_is_named() -> None:
    """Where a budget applies."""
    machine = limited({}, budget_per_day=1.0)
    machine.on(arrived("c1"), 1.0)
    assert summary(machine).startswith("A budget applies, and m has no price. It ended as no_price (status 403)")


def test_how_much_longer_a_replica_is_out_is_told() -> None:
    """As of the choice, where it was known; other reasons stay as they are."""
    assert reason("breaker open after 5 failed calls in a row|112.5", 100.0) == (
        "breaker open after 5 failed calls in a row, for 12.50 s more"
    )
    assert reason("draining", 100.0) == "draining"
