"""The HTTP server before an engine: requests go through it one after the other."""

import pytest

from penstock.config.scenarios import Http
from penstock.sim.door import Door


def test_each_waits_for_those_before_it() -> None:
    """Two that come at once take turns; one that comes later finds it free."""
    door = Door(Http(request_s=0.010, input_s=0.005))
    assert door.through(1, 0.0) == pytest.approx(0.015)
    assert door.through(1, 0.0) == pytest.approx(0.030)
    assert door.through(1, 1.0) == pytest.approx(1.015)


def test_together_they_cost_less() -> None:
    """Four inputs are one request."""
    assert Door(Http(request_s=0.010, input_s=0.005)).through(4, 0.0) == pytest.approx(0.030)
