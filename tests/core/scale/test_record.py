"""What is remembered: the last entries, and decisions that say the same again only once."""

from typing import Any

from penstock.core.scale.record import Decision, History, Step


def decision(at: float, was: int = 2, wanted: int = 2, **fields: Any) -> Decision:
    """One."""
    usual: dict[str, Any] = {"recommended": 2, "reason": "r", "bounds": ()}
    return Decision(pool="p", at=at, since=at, was=was, wanted=wanted, **{**usual, **fields})


def step(at: float) -> Step:
    """One."""
    return Step(pool="p", at=at, unit="p-1", was="loading", now="ready")


def test_the_same_again_is_counted() -> None:
    """A decision that changes nothing, as the one before, stands for both; its inputs are the newest."""
    history = History()
    for at in (1.0, 2.0, 3.0):
        history.add(decision(at, queued=int(at)))
    (found,) = history.newest(10)
    assert isinstance(found, Decision)
    assert (found.times, found.since, found.at, found.queued) == (3, 1.0, 3.0, 3)


def test_what_differs_is_kept() -> None:
    """A change, another bound, another recommendation, an alarm, or a step in between are entries of their own."""
    history = History()
    entries: list[Decision | Step] = [
        decision(1.0), decision(2.0, 2, 3), decision(3.0, 3, 4), decision(4.0, 4, 4), step(5.0), decision(6.0, 4, 4),
        decision(7.0, 4, 4, bounds=("max 4",)), decision(8.0, 4, 4, bounds=("max 4",), recommended=9),
        decision(9.0, 4, 4, bounds=("max 4",), recommended=9, alarm="a"),
    ]  # fmt: skip
    for entry in entries:
        history.add(entry)
    assert history.newest(100) == entries[::-1]
    assert history.newest(2) == entries[:-3:-1]
    assert history.decision() == entries[-1]


def test_it_is_bounded() -> None:
    """Only so many entries are kept, the last ones."""
    history = History(3)
    for at in range(10):
        history.add(step(float(at)))
    assert [entry.at for entry in history.newest(10)] == [9.0, 8.0, 7.0]
    assert (history.newest(0), history.decision()) == ([], None)
