"""Every dialect that ships offers the whole port."""

import pytest

from penstock.adapters.dialects.registry import DIALECTS
from penstock.base.ports import Dialect


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_a_dialect_offers_the_whole_port(name: str) -> None:
    """Paths to ask, a verdict on a status, and ValueError for pages that are nonsense."""
    spoken: Dialect = DIALECTS[name]
    assert spoken.name == name
    assert spoken.health_path.startswith("/")
    assert spoken.models_path.startswith("/")
    assert spoken.stats_path is None or spoken.stats_path.startswith("/")
    assert spoken.alive(200)
    assert not spoken.alive(500)
    with pytest.raises(ValueError):
        spoken.models(b"\xff not a page")
