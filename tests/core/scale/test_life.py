"""The states of a replica's life, the roads between them, and how long each may last."""

import pytest

from penstock.core.scale.life import COMING, LIVING, ROADS, STATES, Life
from penstock.core.scale.spec import LifeSpec

SPEC = LifeSpec()


def test_every_state_ends() -> None:
    """From each state a road leads on, and in the end to gone; only gone has none."""
    for state in STATES:
        seen, todo = set(), [state]
        while todo:
            here = todo.pop()
            if here not in seen:
                seen.add(here)
                todo += ROADS[here]
        assert "gone" in seen
    assert ROADS["gone"] == ()
    assert {*COMING, "ready"} == LIVING


def test_no_way_back() -> None:
    """Who was told to stop does not serve again, and a road that is none is a bug."""
    life = Life("a", "stopping", 0.0)
    with pytest.raises(ValueError, match="no road from stopping to ready"):
        life.to("ready", 1.0)


def test_times() -> None:
    """Each state but ready has its limit, counted from when it was entered."""
    life = Life("a", "ordered", 10.0)
    assert not life.late(SPEC, 69.0)
    assert life.late(SPEC, 70.0)
    assert life.to("loading", 20.0) == "ordered"
    assert (life.since, life.late(SPEC, 100.0), life.late(SPEC, 920.0)) == (20.0, False, True)
    life.to("ready", 30.0)
    assert not life.late(SPEC, 1e9)


def test_proven() -> None:
    """It has proven itself once it was ready for a while; taken back from a drain it still has."""
    life = Life("a", "loading", 0.0)
    assert not life.proven(SPEC, 1e9)
    life.to("ready", 10.0)
    assert (life.proven(SPEC, 39.0), life.proven(SPEC, 40.0)) == (False, True)
    life.to("draining", 50.0)
    life.to("loading", 51.0)
    life.to("ready", 52.0)
    assert life.proven(SPEC, 53.0)
