"""Calls that wait for one replica: sessions and keys that stay, without holding anybody up."""

from typing import Any

import pytest

from penstock.core.events import ClientGone, Ended, Failed, Observed, Probed, Reconfigured, Woke
from penstock.core.gate import Gate
from penstock.core.route.presets import ConsistentHash, LeastConnections
from penstock.core.spec import GateSpec, ProbeSpec, QueueSpec, StickySpec
from tests.core.playbook import arrived, fleet, gate, house, kinds, nothing_held, pool, refusals, sends, stats, tell

PINNED = StickySpec(header="x-session-id", pin=True)


def bonded(*, seats: int = 1, **fields: Any) -> Gate:
    """Replicas a and b; session x has a, y has b, and both are full."""
    made = house("a", "b", seats=seats, **{"sticky": PINNED, **fields})
    for number, (session, where) in enumerate((("x", "a"), ("y", "b"))):
        for more in range(seats):
            assert sends(made.on(arrived(f"{session}{more}", session=session), 0.0)) == [(f"{session}{more}", where)]
        assert number in (0, 1)
    return made


def end(made: Gate, id: str, now: float) -> list[tuple[str, str]]:
    """The call's answer is complete; who is sent for it."""
    return sends(made.on(Ended(id, 1, 200), now))


def pinned(made: Gate) -> dict[str, int]:
    """Calls that wait for each replica alone."""
    return {view.id: view.pinned for view in made.replicas(1.0)}


def test_a_pinned_call_waits_for_its_replica_and_holds_nobody_up() -> None:
    """A free seat elsewhere goes to whoever is behind it; it goes when its own replica is free."""
    made = bonded()
    assert made.on(arrived("x1", session="x"), 1.0) == []
    assert made.on(arrived("f1"), 2.0) == []
    assert pinned(made) == {"a": 1, "b": 0}
    assert end(made, "y0", 3.0) == [("f1", "b")]
    assert end(made, "f1", 4.0) == []
    assert sends(made.on(arrived("f2"), 5.0)) == [("f2", "b")]
    assert end(made, "x0", 6.0) == [("x1", "a")]
    assert pinned(made) == {"a": 0, "b": 0}


def test_a_preference_does_not_wait() -> None:
    """Without `pin` the same call goes elsewhere at once."""
    made = bonded(sticky=StickySpec(header="x-session-id"))
    end(made, "y0", 1.0)
    assert sends(made.on(arrived("x1", session="x"), 2.0)) == [("x1", "b")]


def test_classes_and_tenants_hold_among_the_pinned_and_between_them_and_the_others() -> None:
    """A free seat goes to the highest class of all that could use it, and inside it to the tenant that had least."""
    made = bonded(queue=QueueSpec(burst=0))
    for id, fields in (
        ("x-low", {"session": "x", "priority": 3}), ("x-1", {"session": "x", "tenant": "t"}),
        ("x-2", {"session": "x", "tenant": "t"}), ("x-3", {"session": "x", "tenant": "u"}),
        ("f-high", {"priority": 1}),
    ):  # fmt: skip
        assert made.on(arrived(id, **fields), 1.0) == []
    served, last = [], "x0"
    while (sent := end(made, last, 2.0)) != []:
        assert sent[0][1] == "a"
        last = sent[0][0]
        served.append(last)
    assert served == ["f-high", "x-1", "x-3", "x-2", "x-low"]


def test_who_came_before_the_bond_joins_it() -> None:
    """Two first calls of a session wait for anybody; the first is placed, and the second waits for the same replica
    while another has a free seat, and lets who is behind it pass."""
    made = house("a", "b", sticky=PINNED)
    tell(made, arrived("f0"), arrived("f1"), arrived("z0", session="z"), arrived("z1", session="z"), now=0.0)
    made.on(arrived("f2"), 0.0)
    assert end(made, "f0", 1.0) == [("z0", "a")]
    assert end(made, "f1", 2.0) == [("f2", "b")]
    assert pinned(made) == {"a": 1, "b": 0}
    assert end(made, "z0", 3.0) == [("z1", "a")]


def test_beyond_the_replicas_bound_429_with_retry_after() -> None:
    """As many wait for a replica, here and in its engine, as `max_queue_size` says; calls without a pin still wait."""
    made = gate(pool(sticky=PINNED, probe=ProbeSpec(enabled=False, max_waiting=None)))
    made.on(fleet("a", "b", max_queue_size=3), 0.0)
    tell(made, arrived("x0", session="x"), arrived("y0", session="y"), now=0.0)
    made.on(Observed("a", stats(waiting=1)), 0.0)
    assert tell(made, arrived("x1", session="x"), arrived("x2", session="x"), now=1.0) == []
    out = made.on(arrived("x3", session="x"), 1.0)
    assert refusals(out) == [("x3", "queue_full", 429)]
    assert made.on(arrived("f1"), 1.0) == []
    assert made.on(arrived("x4", session="x"), 11.0) == []  # what the engine said is stale: one place more


def test_pinned_calls_count_in_the_load_score() -> None:
    """F3: 0.7 x 1/1 + 0.3 x (2 pinned + 1 in the engine)/4; full is overloaded; stale numbers leave the pinned."""
    made = gate(pool(sticky=PINNED, probe=ProbeSpec(enabled=False, max_waiting=None)))
    made.on(fleet("a", max_queue_size=4), 0.0)
    tell(made, *[arrived(f"x{n}", session="x") for n in range(3)], Observed("a", stats(waiting=1)), now=0.0)
    (view,) = made.replicas(1.0)
    assert view.load == pytest.approx(0.7 + 0.3 * 0.75)
    assert view.state == "busy"
    assert made.replicas(11.0)[0].load == pytest.approx(0.7 + 0.3 * 0.5)
    tell(made, arrived("x4", session="x"), now=1.0)
    assert made.replicas(1.0)[0].state == "overloaded"
    for n in (1, 2, 4):
        made.on(ClientGone(f"x{n}"), 2.0)
    assert made.replicas(11.0)[0].load == pytest.approx(0.7)


def test_after_the_longest_wait_it_may_go_elsewhere_and_the_session_moves() -> None:
    """A stuck replica holds its sessions for `pin_wait` only, and a free seat is taken at that moment."""
    made = bonded(sticky=StickySpec(header="x-session-id", pin=True, pin_wait_s=3.0))
    made.on(arrived("x1", session="x"), 1.0)
    assert end(made, "y0", 2.0) == []
    assert made.next_wake() == 4.0
    assert sends(made.on(Woke(), 4.0)) == [("x1", "b")]
    assert end(made, "x0", 5.0) == []
    assert made.on(arrived("x2", session="x"), 6.0) == []
    assert end(made, "x1", 7.0) == [("x2", "b")]


def test_it_never_waits_past_its_deadline() -> None:
    """504 at the deadline, though it might wait longer for its replica."""
    made = bonded(queue=QueueSpec(timeout_s=2.0))
    made.on(arrived("x1", session="x"), 1.0)
    assert refusals(made.on(Woke(), 3.0)) == [("x1", "queue_timeout", 504)]
    assert pinned(made) == {"a": 0, "b": 0}


@pytest.mark.parametrize(
    "loss",
    [fleet("b"), fleet("a", "b", drain=True), Failed("x0", 1, "connect_refused")],
    ids=["gone", "draining", "ill"],
)
def test_when_its_replica_is_lost_it_waits_for_any(loss: Any) -> None:
    """The pin ends, the next free seat is taken, and the session goes on there."""
    if isinstance(loss, Failed):
        made = bonded()
        made._fleet.seats["a"].health.failures = 4  # one more opens the breaker
    else:
        made = bonded()
    made.on(arrived("x1", session="x"), 1.0)
    made.on(loss, 2.0)
    if getattr(loss, "replicas", ()) and loss.replicas[0].drain:
        tell(made, fleet("b"), now=2.5)
    sent = end(made, "y0", 3.0)
    assert ("x1", "b") in sent or ("x0", "b") in sent
    for name, _ in sent:
        tell(made, ClientGone("x0") if name == "x1" else ClientGone("x1"), now=4.0)
    assert made.on(arrived("x9", session="x"), 5.0) == []
    assert end(made, "x1" if ("x1", "b") in sent else "x0", 6.0) in ([("x9", "b")], [])


def test_a_failed_attempt_ends_the_pin() -> None:
    """The second attempt goes wherever there is a seat."""
    made = bonded()
    end(made, "y0", 1.0)
    assert sends(made.on(Failed("x0", 1, "connect_refused"), 2.0)) == [("x0", "b")]


def test_a_key_waits_for_its_owner() -> None:
    """With `pin`, consistent_hash never sends a key elsewhere while its owner is well, whatever the load bound says."""
    made = house("a", "b", strategy=ConsistentHash(pin=True, load_factor=1.0))
    (_, owner) = sends(made.on(arrived("u0", user="someone"), 0.0))[0]
    assert made.on(arrived("u1", user="someone"), 1.0) == []
    assert pinned(made)[owner] == 1
    assert kinds(made.on(arrived("f0"), 1.0)) == ["Send"]  # without a key it is balanced
    assert end(made, "u0", 2.0) == [("u1", owner)]
    tell(made, arrived("u2", user="someone"), fleet("b" if owner == "a" else "a"), now=3.0)
    end(made, "f0", 4.0)
    assert pinned(made) == {"b" if owner == "a" else "a": 0}


def test_new_settings_pin_and_unpin_who_waits() -> None:
    """Nobody is lost on a reload: without `pin` a waiting call takes the free seat, with it again it waits."""
    made = bonded()
    made.on(arrived("x1", session="x"), 1.0)
    end(made, "y0", 2.0)
    plain = pool(sticky=StickySpec(header="x-session-id"), strategy=LeastConnections())
    assert sends(made.on(Reconfigured(GateSpec(pools=(plain,), max_waiting=10)), 3.0)) == [("x1", "b")]
    assert pinned(made) == {"a": 0, "b": 0}
    for id in ("x0", "x1"):
        end(made, id, 4.0)
    assert nothing_held(made)


def test_a_replica_that_is_set_aside_is_waited_for() -> None:
    """A pause is not an illness: the session waits for the replica within its time."""
    made = bonded()
    made.on(arrived("x1", session="x"), 0.5)
    made.on(Failed("x0", 1, "upstream_busy", 429, retry_after_s=2.0), 1.0)
    made.on(Probed("a", True), 1.5)
    assert pinned(made)["a"] == 1
