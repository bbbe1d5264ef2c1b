"""Counting: percentiles on literal numbers, goodput, tokens, and bounds on what is kept."""

import pytest

from penstock.loadgen.answer import Answer
from penstock.loadgen.tally import MAX_KINDS, Samples, Slo, Tally, percentile
from penstock.workload.request import Request

ROW = Request(0, 100, 10)


def answer(
    *content_at: float, ended_at: float = 2.0, error: str = "", output: int | None = None, prompt: int | None = None,
    cached: int | None = None, replica: str = "-",
) -> Answer:  # fmt: skip
    """An answer that was asked for at second 0 and had content at these times."""
    made = Answer(0.0)
    for at in content_at:
        if made.last_content_at is None:
            made.first_content_at = at
        else:
            made.gaps_s.append(at - made.last_content_at)
        made.last_content_at = at
        made.pieces += 1
    made.ended_at, made.error, made.replica = ended_at, error, replica
    made.prompt_tokens, made.output_tokens, made.cached_tokens = prompt, output, cached
    return made


@pytest.mark.parametrize(
    ("values", "share", "want"),
    [([], 0.5, 0), ([7.0], 0.99, 7), ([1.0, 2.0], 0.5, 1.5), ([1.0, 2.0, 3.0, 4.0], 0.9, 3.7), ([1.0, 9.0], 1.0, 9)],
)
def test_percentile(values: list[float], share: float, want: float) -> None:
    """Percentiles are interpolated linearly between ranks, as numpy's default does."""
    assert percentile(values, share) == pytest.approx(want)


def test_samples() -> None:
    """Count, mean, maximum and percentiles of numbers in any order."""
    samples = Samples("x")
    for value in (5, 1, 4, 2, 3):
        samples.add(value)
    assert (samples.count, samples.mean, samples.max) == (5, 3.0, 5)
    assert samples.percentiles(0.5, 0.9) == pytest.approx([3.0, 4.6])


def test_samples_are_bounded_and_fair() -> None:
    """Beyond the bound a sample is kept whose percentiles are near the truth; count, mean and maximum are exact."""
    samples = Samples("x", limit=500)
    for value in range(5000):
        samples.add(value)
    assert len(samples._values) == 500
    assert (samples.count, samples.mean, samples.max) == (5000, 2499.5, 4999)
    assert samples.percentiles(0.5)[0] == pytest.approx(2500, rel=0.1)


@pytest.mark.parametrize(
    ("slo", "made", "stream", "good"),
    [
        (Slo(), answer(0.9, 0.95, 1.05), True, True),
        (Slo(), answer(1.1, 1.2), True, False),
        (Slo(), answer(0.5, 0.8), True, False),
        (Slo(), answer(0.5, 0.8, output=10), True, True),
        (Slo(), answer(0.5), True, True),
        (Slo(), answer(), True, False),
        (Slo(), answer(0.5, error="truncated"), True, False),
        (Slo(ttft_s=None, itl_s=None), answer(), True, True),
        (Slo(e2e_s=1.9), answer(0.5), True, False),
        (Slo(), answer(), False, True),
        (Slo(e2e_s=1.9), answer(), False, False),
    ],
)
def test_slo(slo: Slo, made: Answer, stream: bool, good: bool) -> None:
    """Good is within every bound that is set; errors never are; without streaming only the end counts."""
    assert slo.met_by(made, stream) is good


def test_tally() -> None:
    """Two good answers, a slow and a failed one add up."""
    tally = Tally(Slo(), planned=5)
    for at in range(5):
        tally.began(10.0 + at, 0.001 * at)
    tally.ended(ROW, answer(0.5, 0.6, ended_at=12.0, prompt=104, output=4, cached=52, replica="a"))
    tally.ended(ROW, answer(0.5, ended_at=13.0, replica="b"))
    tally.ended(ROW, answer(1.5, ended_at=20.0, prompt=96, output=2, replica="b"))
    tally.ended(ROW, answer(ended_at=14.0, error="429 queue_full"))
    assert tally.in_flight == 1
    assert (tally.sent, tally.done, tally.ok, tally.good) == (5, 4, 3, 2)
    assert tally.wall_s == 10.0
    assert (tally.prompt_tokens, tally.output_tokens, tally.cached_tokens) == (104 + 100 + 96, 4 + 1 + 2, 52)
    assert tally.errors == {"429 queue_full": 1}
    assert (tally.ttft.count, tally.itl.count, tally.e2e.count, tally.lateness.max) == (3, 1, 3, 0.004)
    assert {name: (row.requests, row.errors) for name, row in tally.replicas.items()} == {
        "a": (1, 0), "b": (2, 0), "-": (1, 1),
    }  # fmt: skip
    tally.over(25.0, reconnects=3)
    assert (tally.cut, tally.in_flight, tally.wall_s, tally.reconnects) == (1, 0, 15.0, 3)


def test_part_of_an_answer_counts() -> None:
    """A truncated answer's tokens and first token were real; its end was not."""
    tally = Tally(Slo())
    tally.began(0.0, None)
    tally.ended(ROW, answer(0.5, 0.6, error="truncated"))
    assert (tally.prompt_tokens, tally.output_tokens, tally.ttft.count, tally.e2e.count) == (100, 2, 1, 0)
    assert tally.lateness.count == 0


def test_names_from_the_target_are_bounded() -> None:
    """A target that invents error codes and replica names cannot fill the memory."""
    tally = Tally(Slo())
    for number in range(MAX_KINDS + 50):
        tally.ended(ROW, answer(error=f"500 e{number}", replica=f"r{number}"))
    assert len(tally.errors) == len(tally.said) == MAX_KINDS + 1
    assert (tally.errors["other"], tally.replicas["other"].requests) == (50, 50)
    assert len(tally.replicas) == MAX_KINDS + 1


def test_tenants_are_told_apart_where_requests_name_them() -> None:
    """Requests, errors, good ones and times of each; of requests without a tenant nothing; and they are bounded."""
    tally = Tally(Slo())
    mine = Request(0, 100, 10, tenant="a")
    tally.ended(mine, answer(0.5, output=3))
    tally.ended(mine, answer(error="reset"))
    tally.ended(ROW, answer(0.5))
    row = tally.tenants["a"]
    assert list(tally.tenants) == ["a"]
    assert (row.requests, row.errors, row.good, row.output_tokens, row.ttft.count) == (2, 1, 1, 3, 1)
    for number in range(MAX_KINDS + 50):
        tally.ended(Request(0, 100, 10, tenant=f"t{number}"), answer(0.5))
    assert len(tally.tenants) == MAX_KINDS + 1
    assert tally.tenants["other"].requests == 51
