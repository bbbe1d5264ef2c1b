"""What goes wrong in a scenario: faults whose fields cannot be meant are refused."""

import pytest

from penstock.config.faults import RegionDark, Runaway, Spot, Storm


def test_a_notice_ends_before_the_fault() -> None:
    """A spot replica that is back before it died was not taken back."""
    assert Spot(at_s=0.0, for_s=31.0, notice_s=30.0).for_s == 31.0
    with pytest.raises(ValueError, match="before `notice`"):
        Spot(at_s=0.0, for_s=30.0, notice_s=30.0)


def test_what_befalls_all_names_no_replicas() -> None:
    """A dark region, a storm and a runaway have their own victims."""
    for made, said in (
        (lambda: RegionDark(at_s=0.0, region="a", replicas=(1,)), "all its replicas"),
        (lambda: Storm(at_s=0.0, replicas=(1,)), "all spot replicas"),
        (lambda: Runaway(at_s=0.0, replicas=(1,)), "the pool's"),
    ):
        with pytest.raises(ValueError, match=said):
            made()
