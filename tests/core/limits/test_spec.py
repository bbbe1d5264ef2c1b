"""The usual limits of tiers, as they are documented."""

from penstock.core.limits.spec import FREE, STANDARD, AllowanceSpec, TiersSpec


def test_tiers_are_found_by_name() -> None:
    """The four of them; a name that is none is standard, and what was lifted is lifted."""
    tiers = TiersSpec(premium=None)
    assert (tiers.of("free"), tiers.of("standard"), tiers.of("premium"), tiers.of("gold")) == (
        FREE, STANDARD, None, STANDARD
    )  # fmt: skip
    assert (
        AllowanceSpec(requests_per_minute=10, requests_per_hour=100, requests_per_day=1000, tokens_per_day=10_000)
        == FREE
    )
