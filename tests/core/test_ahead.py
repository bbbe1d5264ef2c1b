"""Looking ahead: who goes before whom for the sake of prefix caches, and who never does."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.base.prefix import chain
from penstock.base.rand import Rand
from penstock.core.ahead import LOOK, ahead
from penstock.core.events import Arrived, ClientGone, Ended, Reconfigured
from penstock.core.gate import Gate
from penstock.core.route.pipeline import build
from penstock.core.route.presets import Adaptive, AdaptiveClassic, LeastLoaded, PrefixAware
from penstock.core.spec import GateSpec, QueueSpec, SlowStartSpec, StickySpec
from tests.core.playbook import call, fleet, house, pool, sends

TEXTS = {name: Random(name).randbytes(8192) for name in "pqrs"}


def asked(id: str, **fields: Any) -> Arrived:
    """A call whose prompt begins with the text that its id begins with (if there is one), and goes on like no other."""
    blocks, size = chain([TEXTS.get(id[0], b"") + Random(id).randbytes(1024)])
    made: dict[str, Any] = {"prefix": blocks, "prompt_bytes": size, "prompt_tokens": 1000, "max_tokens": 0, **fields}
    return Arrived(call(id, **made))


def busy(strategy: PrefixAware | Adaptive | None = None, **fields: Any) -> Gate:
    """A Gate with two replicas of one seat: `a` works on a prompt that begins with p, `b` on one that begins with q."""
    made = house("a", strategy=strategy or PrefixAware(), slow_start=SlowStartSpec(window_s=0.0), **fields)
    assert sends(made.on(asked("p"), 0.0)) == [("p", "a")]
    made.on(fleet("a", "b", max_concurrent_requests=1), 0.0)
    assert sends(made.on(asked("q"), 0.0)) == [("q", "b")]
    return made


def wait(machine: Gate, *ids: str, **fields: Any) -> None:
    """These calls come, and find no seat."""
    for id in ids:
        assert sends(machine.on(asked(id, **fields), 1.0)) == []


def served(machine: Gate, id: str = "p") -> list[str]:
    """Who is sent, one after the other, when this call ends, and then always the one that was sent last."""
    found = []
    while next_ones := sends(machine.on(Ended(id, 1, 200), 2.0)):
        ((id, _),) = next_ones
        found.append(id)
    return found


def test_who_has_its_prefix_at_the_free_seat_goes_first() -> None:
    """The seat at `a` goes to the second in line, whose beginning is there; the first one waits for the next."""
    machine = busy()
    wait(machine, "q2", "p2")
    assert sends(machine.on(Ended("p", 1, 200), 2.0)) == [("p2", "a")]
    assert sends(machine.on(Ended("q", 1, 200), 2.0)) == [("q2", "b")]


def test_it_holds_under_adaptive_as_well() -> None:
    """The default strategy looks ahead, too."""
    machine = busy(Adaptive())
    wait(machine, "q2", "p2")
    assert served(machine) == ["p2", "q2"]


def test_the_first_in_line_stays_first_where_its_own_prefix_is_there() -> None:
    """Nobody passes it, though others have as much there."""
    machine = busy()
    wait(machine, "p2", "q2", "p3")
    assert served(machine) == ["p2", "p3", "q2"]


def test_of_equals_the_first_that_came_is_taken() -> None:
    """No more calls are passed than need be."""
    machine = busy()
    wait(machine, "q2", "p2", "p3", "p4")
    assert served(machine) == ["p2", "p3", "p4", "q2"]


def test_prompts_that_nobody_knows_go_strictly_in_turn() -> None:
    """Where nothing is cached there is nothing to look ahead for."""
    machine = busy()
    wait(machine, "x1", "x2", "x3", "x4")
    assert served(machine) == ["x1", "x2", "x3", "x4"]


def test_a_prompt_that_nobody_has_goes_before_one_that_a_busy_replica_has() -> None:
    """It must be computed anyway; the other one would be computed once more. Whoever has it here goes before both."""
    machine = busy()
    wait(machine, "q2", "x1", "p2")
    assert served(machine) == ["p2", "x1", "q2"]


def test_nobody_waits_for_an_engine_that_keeps_nothing() -> None:
    """Where its replica was found to have much less than was believed, a call is as good as unknown."""
    machine = busy()
    machine._fleet.seats["b"].cache.trust = 0.1
    wait(machine, "q2", "x1")
    assert served(machine) == ["q2", "x1"]


def test_a_little_more_is_not_enough() -> None:
    """The first one has 72 % of its prompt there, the second 79 %: less than the margin apart."""
    machine = busy()
    blocks, size = chain([TEXTS["p"] + Random("long").randbytes(2048)])
    machine.on(asked("first", prefix=blocks, prompt_bytes=size), 1.0)
    wait(machine, "p2")
    assert served(machine) == ["first", "p2"]


@pytest.mark.parametrize(
    ("most", "order"),
    [
        (0, ["q2", "p2", "p3", "p4"]),
        (1, ["p2", "q2", "p3", "p4"]),
        (2, ["p2", "p3", "q2", "p4"]),
        (3, ["p2", "p3", "p4", "q2"]),
    ],
)
def test_nobody_is_overtaken_more_often_than_the_strategy_says(most: int, order: list[str]) -> None:
    """Then it is its turn; 0 is strict order."""
    machine = busy(PrefixAware(max_overtaken=most))
    wait(machine, "q2", "p2", "p3", "p4")
    assert served(machine) == order


def test_nobody_passes_a_call_in_the_middle_that_was_overtaken_often_enough() -> None:
    """The first may still be passed, but not by who would pass the one behind it as well, for which it is enough."""
    machine = busy(PrefixAware(max_overtaken=2))
    wait(machine, "q2", "q3", "p2", "p3")
    machine._calls.books.flights["q3"].overtaken = 2  # it waited elsewhere before
    assert served(machine) == ["q2", "q3", "p2", "p3"]


def test_another_tenant_or_class_is_never_passed() -> None:
    """Tenants take turns as without, and a higher priority goes first, wherever prefixes are."""
    machine = busy()
    wait(machine, "q2", tenant="x")
    wait(machine, "p2", tenant="y")
    assert served(machine) == ["q2", "p2"]
    machine = busy()
    wait(machine, "q2")
    wait(machine, "p2", priority=3)
    assert served(machine) == ["q2", "p2"]


def test_tenants_share_as_without() -> None:
    """What a tenant is charged is the call that was served, so with calls of one price turns are the same."""
    machine = busy()
    for tenant in ("x", "y"):
        wait(machine, f"q-{tenant}1", f"q-{tenant}2", f"p-{tenant}3", f"p-{tenant}4", tenant=tenant)
    order = served(machine)
    assert [id[2] for id in order] == ["x", "y"] * 4
    assert order[:4] == ["p-x3", "p-y3", "p-x4", "p-y4"]


def test_a_session_goes_in_turn() -> None:
    """Under `sticky` a session has its own replica: its calls go before nobody, and nobody before them."""
    machine = busy(sticky=StickySpec(header="x-session-id"))
    wait(machine, "q2")
    wait(machine, "p2", session="s")
    assert served(machine) == ["q2", "p2"]
    machine = busy(sticky=StickySpec(header="x-session-id"))
    wait(machine, "q2", session="s")
    wait(machine, "p2")
    assert served(machine) == ["q2", "p2"]


def test_so_many_are_looked_at() -> None:
    """The last of those that are looked at may go first; one further behind may not."""
    others = [f"q{number}" for number in range(2, LOOK + 1)]
    machine = busy(PrefixAware(max_overtaken=1))
    wait(machine, *others, "p2")
    assert served(machine)[0] == "p2"
    machine = busy(PrefixAware(max_overtaken=1))
    wait(machine, "q1", *others, "p2")
    assert served(machine)[0] == "q1"


def test_who_has_left_is_not_looked_at() -> None:
    """Neither takes a place nor counts as passed."""
    machine = busy(PrefixAware(max_overtaken=1))
    wait(machine, "q2", "p2", "q3", "p3")
    machine.on(ClientGone("p2"), 1.0)
    assert served(machine) == ["p3", "q2", "q3"]


def test_an_alias_has_the_prefixes_of_its_model() -> None:
    """A call by another name is found ahead as well."""
    machine = busy()
    machine.on(Reconfigured(GateSpec(pools=machine.spec.pools, aliases={"other": "m"})), 0.5)
    wait(machine, "q2")
    wait(machine, "p2", model="other")
    assert served(machine) == ["p2", "q2"]


def test_who_looks_ahead() -> None:
    """Strategies that know prefixes and are not told otherwise, in a queue that goes by class and arrival."""

    def looks(**fields: Any) -> bool:
        spec = pool(**fields)
        return ahead(spec, build(spec.strategy, Rand(1))) is not None

    assert looks(strategy=PrefixAware())
    assert looks(strategy=Adaptive())
    assert not looks(strategy=Adaptive(prefix=0.0))
    assert not looks(strategy=Adaptive(max_overtaken=0))
    assert not looks(strategy=AdaptiveClassic())
    assert not looks(strategy=LeastLoaded())
    assert not looks(strategy=PrefixAware(), queue=QueueSpec(order="score"))
    assert not looks(strategy=PrefixAware(), queue=QueueSpec(within="edf"))


# ===== whatever comes =====

WAITING = st.lists(
    st.tuples(st.sampled_from("pqrsxx"), st.sampled_from(["t1", "t1", "t2"]), st.sampled_from([2, 2, 3])), max_size=24
)
"""How each prompt begins (x: like no other), its tenant and its priority."""


def play(waiting: list[tuple[str, str, int]], most: int, seed: int) -> list[str]:
    """They wait, and seats come free in an order that the seed draws; in which order they are sent."""
    machine, luck = busy(PrefixAware(max_overtaken=most)), Random(seed)
    for number, (text, tenant, priority) in enumerate(waiting):
        wait(machine, f"{text}-{tenant}-{priority}-{number}", tenant=tenant, priority=priority)
    running, order = ["p", "q"], []
    while running:
        id = running.pop(luck.randrange(len(running)))
        for name, _ in sends(machine.on(Ended(id, 1, 200), 2.0)):
            running.append(name)
            order.append(name)
    assert not any(machine.counts().values())
    return order


@settings(max_examples=40)
@given(WAITING, st.integers(1, 4), st.integers(0, 9))
def test_all_are_served_and_nobody_is_overtaken_too_often(
    waiting: list[tuple[str, str, int]], most: int, seed: int
) -> None:
    """Every call is sent once; of its tenant and class at most so many later ones go before it."""
    order = play(waiting, most, seed)
    assert len(order) == len(set(order)) == len(waiting)
    for at, name in enumerate(order):
        lane, _, number = name[2:].rpartition("-")
        later = [other for other in order[:at] if other[2:].startswith(lane + "-")]
        assert sum(int(other.rpartition("-")[2]) > int(number) for other in later) <= most


@settings(max_examples=40)
@given(WAITING, st.integers(0, 9))
def test_tenants_and_classes_are_served_as_without(waiting: list[tuple[str, str, int]], seed: int) -> None:
    """With calls of one price the turns of tenants and classes are the same as in strict order."""
    assert [name.split("-")[1:3] for name in play(waiting, 4, seed)] == [
        name.split("-")[1:3] for name in play(waiting, 0, seed)
    ]


@settings(max_examples=40)
@given(WAITING, st.integers(0, 9))
def test_unknown_prompts_are_served_in_strict_order(waiting: list[tuple[str, str, int]], seed: int) -> None:
    """Where no prompt begins like another, looking ahead changes nothing at all."""
    unknown = [("x", tenant, priority) for _, tenant, priority in waiting]
    assert play(unknown, 4, seed) == play(unknown, 0, seed)
