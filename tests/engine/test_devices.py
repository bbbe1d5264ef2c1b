"""GPUs of an engine: busy as steps run, full as blocks are held, hot and hungry as they are busy."""

import pytest

from penstock.engine.devices import Card, Devices

CARD = Card(count=2, memory_bytes=1000, weights_bytes=300, share=0.9, watts=500.0, idle_c=30.0, busy_c=80.0)


def test_utilisation_is_the_share_of_time_in_which_steps_ran() -> None:
    """Busy for two of five seconds, then for the whole of the next five; both GPUs of the replica tell the same."""
    devices = Devices("r0", CARD, 0.0)
    devices.works(True, 1.0)
    devices.works(True, 2.0)
    devices.works(False, 3.0)
    first, second = devices.look(0.0, 5.0)
    assert [first.utilisation, second.utilisation] == pytest.approx([0.4, 0.4])
    assert (first.index, second.index, first.uuid, second.uuid) == (0, 1, "r0/0", "r0/1")
    devices.works(True, 5.0)
    assert devices.look(0.0, 10.0)[0].utilisation == pytest.approx(1.0)
    assert devices.look(0.0, 15.0)[0].utilisation == pytest.approx(1.0)


def test_memory_is_the_weights_and_what_is_held() -> None:
    """Of the engine's share, what the weights leave is the cache; without an engine there is no model either."""
    devices = Devices("r0", CARD, 0.0)
    assert [devices.look(usage, 1.0)[0].memory_used_bytes for usage in (0.0, 0.5, 1.0, None)] == [300, 600, 900, 0]
    assert devices.look(0.0, 1.0)[0].memory_total_bytes == 1000


def test_it_warms_up_by_its_time_constant_and_cools_down_again() -> None:
    """Busy for a minute it has gone 63 % of the way; busy for long it is as hot as it becomes; then it cools."""
    devices = Devices("r0", CARD, 0.0)
    devices.works(True, 0.0)
    assert devices.look(0.0, 60.0)[0].temperature_c == pytest.approx(30 + 50 * 0.6321, abs=0.01)
    assert devices.look(0.0, 1000.0)[0].temperature_c == pytest.approx(80.0, abs=0.01)
    devices.works(False, 1000.0)
    assert devices.look(0.0, 1060.0)[0].temperature_c == pytest.approx(30 + 50 * 0.3679, abs=0.01)


def test_power_goes_straight_from_a_tenth_to_all() -> None:
    """Idle, half busy, busy."""
    devices = Devices("r0", CARD, 0.0)
    idle = devices.look(0.0, 10.0)[0].power_w
    devices.works(True, 15.0)
    half, full = devices.look(0.0, 20.0)[0].power_w, devices.look(0.0, 30.0)[0].power_w
    assert [idle, half, full] == pytest.approx([50.0, 275.0, 500.0])


def test_two_looks_at_once_are_alike() -> None:
    """No time has passed: nothing changes, and nothing is divided by it."""
    devices = Devices("r0", CARD, 0.0)
    devices.works(True, 0.0)
    devices.look(0.0, 5.0)
    assert devices.look(0.0, 5.0)[0].utilisation == 1.0
