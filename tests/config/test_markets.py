"""What a scenario may say of spot."""

import pytest

from penstock.config.markets import Market, Offer


def test_offers_are_in_order() -> None:
    """The other way round is a mistake."""
    assert Market(offers=(Offer(at_s=4.0, replicas=1), Offer(at_s=5.0, replicas=2))).notice_s == 120.0
    with pytest.raises(ValueError, match="not in the order of their times"):
        Market(offers=(Offer(at_s=5.0, replicas=1), Offer(at_s=4.0, replicas=2)))
