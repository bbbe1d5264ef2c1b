"""Faults strike as often as they are told to, the same way for the same seed."""

from typing import get_args

import pytest

from penstock.emulator.faults import KINDS, Fault, Faults, Kind, parse_fault

PATH = "/v1/models"


def hits(*faults: Fault, seed: int = 0, times: int = 200) -> list[bool]:
    """Which of so many requests are hit."""
    luck = Faults(faults, seed)
    return [luck.for_request(PATH) is not None for _ in range(times)]


def test_a_count_bounds_a_fault() -> None:
    """After `count` requests the fault is over, and it says how often it struck."""
    faults = Faults((Fault(kind="status", count=2),), 0)
    assert [faults.for_request(PATH) is not None for _ in range(4)] == [True, True, False, False]
    assert faults.struck == [2]


def test_probability_is_a_share_and_seeded() -> None:
    """A quarter of the requests is hit, the same ones for the same seed."""
    some = Fault(kind="garbage", probability=0.25)
    assert 30 < sum(hits(some)) < 70
    assert hits(some) == hits(some)
    assert hits(some) != hits(some, seed=1)
    assert not any(hits(Fault(kind="garbage", probability=0)))


def test_paths_bound_a_fault() -> None:
    """By default health and metrics are spared; a path of its own makes a fault hit just that."""
    faults = Faults((Fault(kind="hang_before_head"),), 0)
    assert faults.for_request("/health") is None
    assert faults.for_request("/metrics") is None
    assert Faults((Fault(kind="status", path="/health"),), 0).for_request("/health") is not None


def test_some_kinds_do_not_hit_requests() -> None:
    """Refusals are of connections, slowness is of the engine, wrong metrics only of /metrics."""
    faults = Faults((Fault(kind="refuse", count=1), Fault(kind="slow", factor=3), Fault(kind="wrong_metrics")), 0)
    assert faults.for_request(PATH) is None
    assert [faults.for_connection(), faults.for_connection()] == [True, False]
    assert faults.slow_factor == 3
    hit = faults.for_request("/metrics")
    assert hit is not None
    assert hit.kind == "wrong_metrics"


def test_a_flapping_replica_is_up_and_down_in_turn() -> None:
    """It is up for a period from when it was set, then down for one, whatever is asked; set again, it begins anew."""
    times = iter([10.0, 10.0, 10.9, 11.0, 11.9, 12.0, 13.5, 20.0, 20.5])
    faults = Faults((), 0, lambda: next(times))
    faults.replace((Fault(kind="flap"),))
    assert [faults.for_request(PATH) is not None for _ in range(2)] == [False, True]
    assert [faults.for_request("/health") is not None for _ in range(2)] == [True, False]
    assert faults.for_connection()
    faults.replace((Fault(kind="flap"),))
    assert not faults.for_connection()


def test_lies_are_told_of_metrics_only() -> None:
    """Calls and health checks are as they are."""
    faults = Faults((Fault(kind="lying_metrics"),), 0)
    assert faults.for_request(PATH) is None
    assert faults.for_request("/health") is None
    assert faults.for_request("/metrics") is not None


def test_replacing_ends_what_was_set() -> None:
    """A new list takes the place of the old one, and counts from zero."""
    faults = Faults((Fault(kind="status"),), 0)
    faults.for_request(PATH)
    faults.replace(())
    assert faults.for_request(PATH) is None
    assert faults.struck == []


def test_faults_are_written_on_the_command_line() -> None:
    """A kind alone, or with fields of the right types."""
    assert parse_fault("garbage") == Fault(kind="garbage")
    assert parse_fault("status,status=503, retry_after_s=2,probability=0.5") == Fault(
        kind="status", status=503, retry_after_s=2, probability=0.5
    )


@pytest.mark.parametrize("text", ["explode", "status,code=1", "status,status", "status,status=99", "slow,factor=x"])
def test_mistakes_are_explained(text: str) -> None:
    """An unknown kind or field, or a value out of range, raises ValueError that names what was written."""
    with pytest.raises(ValueError, match=text.split(",")[0]):
        parse_fault(text)


def test_every_kind_is_explained() -> None:
    """The table of kinds has a line for each."""
    assert tuple(KINDS) == get_args(Kind)
    assert all(KINDS.values())


def test_an_unknown_field_is_told_in_words() -> None:
    """A mistyped field is named, with the one that was meant, or all."""
    with pytest.raises(ValueError, match=r"there is no field 'probabilty'; did you mean `probability`\?"):
        parse_fault("garbage,probabilty=1")
    with pytest.raises(ValueError, match=r"there is no field 'x'; fields are probability, "):
        parse_fault("garbage,x=1")


def test_an_unknown_fault_is_told_in_words() -> None:
    """A mistyped kind is named, with all that there are."""
    with pytest.raises(ValueError, match=r"^there is no fault 'garbge'; did you mean `garbage`\?"):
        parse_fault("garbge,probability=0.5")
