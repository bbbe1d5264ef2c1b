"""GPU-aware choice on literal numbers: limits, scores, memory, age, and what happens when all are beyond."""

from typing import Any

import pytest

from penstock.base.nouns import GpuReading
from penstock.base.rand import Rand
from penstock.core.events import Metered
from penstock.core.load import Seat
from penstock.core.route.gpus import Devices, Headroom, WithinLimits, devices, need_bytes
from penstock.core.route.pipeline import build
from penstock.core.route.presets import GpuAware
from tests.core.playbook import arrived, call, house, seat, sends, stats

GB = 1_000_000_000
SPEC = GpuAware()


def gpu(used: float = 0.5, memory: float = 0.5, heat: float = 60.0, index: int = 0) -> GpuReading:
    """One GPU of 80 GB."""
    return GpuReading(
        index=index, uuid=f"GPU-{index}", utilisation=used, memory_used_bytes=int(memory * 80 * GB),
        memory_total_bytes=80 * GB, temperature_c=heat,
    )  # fmt: skip


def metered(id: str, *gpus: GpuReading, in_flight: int = 0, now: float = 0.0) -> Seat:
    """A seat whose GPUs were read now."""
    made = seat(id, ord(id), in_flight)
    made.metered(gpus, 30.0, now)
    return made


def chosen(seats: list[Seat], spec: GpuAware = SPEC, now: float = 1.0, **fields: Any) -> str:
    """Who gets a call."""
    picked = build(spec, Rand(1)).choose(call(**fields), seats, now)
    assert picked is not None
    return picked.id


@pytest.mark.parametrize(
    ("reading", "within"),
    [
        (gpu(used=0.85), True), (gpu(used=0.86), False), (gpu(memory=0.9), True), (gpu(memory=0.91), False),
        (gpu(heat=80), True), (gpu(heat=80.5), False), (gpu(0.85, 0.9, 80), True),
        (GpuReading(index=0, uuid="x"), True),
    ],
)  # fmt: skip
def test_limits_are_85_percent_90_percent_and_80_degrees(reading: GpuReading, within: bool) -> None:
    """At the limit it stays, above it is left out; what nobody knows is within every limit."""
    assert bool(WithinLimits(SPEC).keep(call(), [metered("a", reading)], 1.0)) is within


def test_the_score_is_the_promised_weighted_sum() -> None:
    """0.4 × unused + 0.4 × free memory + 0.2 × coolness, which is 1 up to 70 °C and 0 at 83 °C."""
    seats = [metered("a", gpu(0.25, 0.5, 60)), metered("b", gpu(0.8, 0.1, 76.5)), metered("c", gpu(0.0, 0.0, 83))]
    assert Headroom(SPEC).score(call(), seats, 1.0) == pytest.approx([
        0.4 * 0.75 + 0.4 * 0.5 + 0.2 * 1.0,
        0.4 * 0.2 + 0.4 * 0.9 + 0.2 * 0.5,
        0.4 * 1.0 + 0.4 * 1.0 + 0.2 * 0.0,
    ])  # fmt: skip
    assert chosen(seats[:2]) == "a"


def test_unknown_numbers_count_as_the_mean_of_the_known() -> None:
    """A replica whose GPUs nobody reads is neither flooded nor starved."""
    seats = [metered("a", gpu(0.2, 0.2)), metered("b", gpu(0.6, 0.6)), seat("c")]
    low, high, unknown = Headroom(SPEC).score(call(), seats, 1.0)
    assert unknown == pytest.approx((low + high) / 2)
    assert Headroom(SPEC).score(call(), [seat("a"), seat("b")], 1.0) == [1.0, 1.0]


def test_when_all_are_beyond_a_limit_the_least_loaded_gets_it() -> None:
    """By calls in flight then, and not by heat or use; above 83 °C only when all are."""
    hot = [metered("a", gpu(heat=81), in_flight=3), metered("b", gpu(used=0.99), in_flight=2)]
    assert chosen(hot) == "b"
    assert chosen([*hot, metered("c", gpu(heat=84), in_flight=0)]) == "b"
    assert chosen([metered("a", gpu(heat=90), in_flight=1), metered("b", gpu(heat=95), in_flight=0)]) == "b"
    assert chosen([*hot, metered("d", gpu(used=0.8), in_flight=7)]) == "d"


def test_readings_older_than_30_s_are_ignored() -> None:
    """A GPU that was too hot half a minute ago is unknown now."""
    seats = [metered("a", gpu(heat=81), in_flight=0), metered("b", gpu(0.8, 0.8, 79), in_flight=5)]
    assert chosen(seats, now=29.9) == "b"
    assert devices(seats[0], 30.0) == Devices()
    assert build(SPEC, Rand(1)).scores(call(), seats, 30.0) == [1.0, 1.0]


def test_several_gpus_count_as_the_worst() -> None:
    """The busiest, the fullest, the hottest; free is what the fullest has, on each."""
    both = metered("a", gpu(0.2, 0.7, 50), gpu(0.6, 0.5, 75, index=1))
    assert devices(both, 1.0) == Devices(0.6, 0.7, 48 * GB, 75)


def test_an_engines_own_numbers_stand_for_what_devices_cannot_tell() -> None:
    """Its KV usage stands for memory, which it has taken whole at its start; its utilisation where nobody read one;
    both only while they are fresh."""
    full = metered("a", gpu(0.3, 0.95))
    assert not WithinLimits(SPEC).keep(call(), [full], 1.0)
    full.observed(stats(kv_usage=0.4, gpu_utilisation=0.9), 10.0, 0.0)
    assert devices(full, 1.0) == Devices(0.3, 0.4, None, 60)
    assert devices(full, 10.0) == Devices(0.3, 0.95, 4 * GB, 60)
    alone = seat("b")
    alone.observed(stats(gpu_utilisation=0.9), 10.0, 0.0)
    assert devices(alone, 1.0) == Devices(0.9)


def test_the_memory_of_a_call_is_estimated() -> None:
    """(prompt + max_tokens) × the model's KV bytes where they are configured, else 2,000 MB + 0.5 MB a token; a call
    that sets no bound counts 1,024 tokens."""
    known = GpuAware(kv_bytes_per_token={"m": 131_072})
    assert need_bytes(call(prompt_tokens=500, max_tokens=500), known) == 131_072_000
    assert need_bytes(call(prompt_tokens=500, max_tokens=500), SPEC) == 2_500_000_000
    assert need_bytes(call(prompt_tokens=976), SPEC) == 3_000_000_000


def test_a_call_goes_where_there_is_room_for_it() -> None:
    """2,000 MB + 20,000 tokens × 0.5 MB = 12 GB do not fit into 8 GB that are free, whatever the score."""
    seats = [metered("a", gpu(0.1, 0.9, 50)), metered("b", gpu(0.8, 0.5, 79))]
    assert chosen(seats, prompt_tokens=10, max_tokens=990) == "a"
    assert chosen(seats, prompt_tokens=16_000, max_tokens=4000) == "b"


def test_the_best_fit_takes_60_percent_of_what_is_free() -> None:
    """1 at 60 %, falling to both sides: 3 GB fit best into 5 GB, worse into 10 GB, not at all into nothing."""
    made = Headroom(GpuAware(fit=1.0))
    assert made.fit(5 * GB, 3 * GB) == pytest.approx(1.0)
    assert made.fit(10 * GB, 3 * GB) == pytest.approx(0.5)
    assert made.fit(3 * GB, 3 * GB) == pytest.approx(1 - 0.4 / 0.6)
    assert made.fit(0, 3 * GB) == 0.0
    only_fit = GpuAware(utilisation=0, memory=0, temperature=0, fit=1.0, max_memory=1.0)
    seats = [metered("a", gpu(memory=0.0)), metered("b", gpu(memory=75 / 80)), metered("c", gpu(memory=0.5))]
    assert chosen(seats, only_fit, prompt_tokens=1000, max_tokens=1000) == "b"


def test_without_any_weight_it_goes_by_load() -> None:
    """Within the limits, then."""
    spec = GpuAware(utilisation=0, memory=0, temperature=0)
    seats = [metered("a", gpu(), in_flight=2), metered("b", gpu(), in_flight=1), metered("c", gpu(heat=82))]
    assert chosen(seats, spec) == "b"


def test_readings_reach_the_seat_as_facts() -> None:
    """Through the Gate: the hot one gets nothing, and people see what was read while it is fresh; readings of a replica
    that nobody knows change nothing."""
    gate = house("a", "b", seats=100, strategy=GpuAware())
    gate.on(Metered("a", (gpu(heat=82),)), 0.0)
    gate.on(Metered("nobody", (gpu(),)), 0.0)
    assert {sends(gate.on(arrived(f"c{n}"), 1.0))[0][1] for n in range(10)} == {"b"}
    assert [view.gpus for view in gate.replicas(29.0)] == [(gpu(heat=82),), None]
    assert [view.gpus for view in gate.replicas(30.0)] == [None, None]
