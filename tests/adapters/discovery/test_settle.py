"""What is believed of a source's answers, as a playbook with literal times."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.adapters.discovery.settle import Settled, TrustSpec
from penstock.base.nouns import Found


def at(*hosts: str) -> tuple[Found, ...]:
    """An answer with these hosts."""
    return tuple(Found(host=host, port=80) for host in hosts)


def hosts(settled: Settled) -> list[str]:
    """Who is believed in."""
    return [it.host for it in settled.found()]


def test_a_new_address_counts_at_once() -> None:
    """And the order is that in which they were first seen, whatever order an answer has."""
    settled = Settled(TrustSpec())
    assert settled.saw(at("a"), 0.0)
    assert settled.saw(at("b", "a"), 1.0)
    assert hosts(settled) == ["a", "b"]
    assert not settled.saw(at("a", "b"), 2.0)


def test_a_missing_address_stays_for_its_time() -> None:
    """It goes with the first answer that lacks it after 60 s in which all answers did."""
    settled = Settled(TrustSpec(missing_after_s=60.0))
    settled.saw(at("a", "b"), 0.0)
    assert not settled.saw(at("a"), 10.0)
    assert settled.missing(40.0) == {"b:80": 30.0}
    assert not settled.saw(at("a"), 69.9)
    assert settled.saw(at("a"), 70.0)
    assert hosts(settled) == ["a"]
    assert settled.missing(70.0) == {}


def test_one_that_comes_back_has_its_whole_time_again() -> None:
    """A name server that shows another part of the set each time never loses a member of it."""
    settled = Settled(TrustSpec(missing_after_s=25.0))
    for turn in range(30):
        settled.saw(at(("a", "b", "c")[turn % 3]), turn * 10.0)
    assert hosts(settled) == ["a", "b", "c"]


def test_a_failure_changes_nothing_and_is_no_absence() -> None:
    """While looks fail no time of absence passes away: only answers take an address away."""
    settled = Settled(TrustSpec(missing_after_s=10.0))
    settled.saw(at("a", "b"), 0.0)
    settled.failed("SERVFAIL", 1000.0)
    assert (hosts(settled), settled.error, settled.failing, settled.good_at) == (["a", "b"], "SERVFAIL", 1, 0.0)
    settled.saw(at("a"), 2000.0)
    assert (hosts(settled), settled.error, settled.failing) == (["a", "b"], "", 0)


def test_empty_answers_are_not_believed_by_default() -> None:
    """However many come, the fleet stays; each counts as a failure."""
    settled = Settled(TrustSpec(missing_after_s=0.0))
    settled.saw(at("a"), 0.0)
    for now in range(1, 100):
        assert not settled.saw((), float(now))
    assert hosts(settled) == ["a"]
    assert "empty" in settled.error
    assert settled.failures == 99


def test_empty_answers_in_a_row_are_believed_where_that_is_configured() -> None:
    """Three in a row empty the pool; two and an address do not."""
    settled = Settled(TrustSpec(empty_after=3))
    settled.saw(at("a"), 0.0)
    for now, answer in enumerate([(), (), at("a"), (), ()], 1):
        settled.saw(answer, float(now))
    assert hosts(settled) == ["a"]
    assert settled.saw((), 6.0)
    assert (hosts(settled), settled.error) == ([], "")
    assert not settled.saw((), 7.0)


def test_its_number_is_bounded() -> None:
    """Beyond the bound no new address is taken; those known stay, and follow what is said of them."""
    settled = Settled(TrustSpec(max=2))
    settled.saw(at("a", "b", "c"), 0.0)
    assert hosts(settled) == ["a", "b"]
    assert settled.saw((Found(host="b", port=80, weight=2.0), *at("a", "c")), 1.0)
    assert [(it.host, it.weight) for it in settled.found()] == [("a", 1.0), ("b", 2.0)]


@settings(max_examples=25)
@given(st.lists(st.one_of(st.none(), st.lists(st.sampled_from("abc"), unique=True)), max_size=30))
def test_a_fleet_that_serves_is_never_emptied(answers: list[list[str] | None]) -> None:
    """Whatever comes (None: a failure), by default a pool that had a replica has one, and every member was seen."""
    settled = Settled(TrustSpec(missing_after_s=3.0))
    seen: set[str] = set()
    for now, answer in enumerate(answers):
        if answer is None:
            settled.failed("no", float(now))
        else:
            settled.saw(at(*answer), float(now))
            seen.update(answer)
            assert set(answer) <= set(hosts(settled))
        assert set(hosts(settled)) <= seen
        assert bool(hosts(settled)) == bool(seen)


def test_the_bounds_of_its_settings() -> None:
    """It keeps what it is given, and says how old its knowledge is."""
    settled = Settled(TrustSpec())
    assert (settled.looked_at, settled.good_at, settled.looks) == (None, None, 0)
    settled.saw((), 5.0)
    assert (settled.looked_at, settled.good_at, settled.looks, settled.error) == (5.0, 5.0, 1, "")
    assert settled.spec.missing_after_s == pytest.approx(60.0)
