"""Lengths keep their bounds and meet their quantiles; pairs come from files as they stand together."""

import statistics

import msgspec
import pytest

from penstock.base.rand import Rand
from penstock.workload.lengths import Empirical, Fixed, Independent, Length, LogNormal, Mixture, Part, Rows, Uniform

COUNT = 10_000
FILE = b"at_s,prompt_tokens,output_tokens\n5,50,5\n0,10,1\n1,20,2\n"


def drawn(length: Length) -> list[int]:
    """Sorted lengths of a spec."""
    draw = length.sampler(Rand(1).stream("test"))
    return sorted(draw() for _ in range(COUNT))


def read(name: str) -> list[bytes]:
    """The only file there is."""
    return [FILE]


def test_fixed_and_uniform() -> None:
    """One length, and every length between two alike, both included."""
    assert set(drawn(Fixed(tokens=7))) == {7}
    found = drawn(Uniform(low=1, high=4))
    assert [found.count(tokens) / COUNT for tokens in (1, 2, 3, 4)] == pytest.approx([0.25] * 4, abs=0.02)


def test_lognormal() -> None:
    """Median and p90 are met, and what falls outside is drawn to the bounds."""
    found = drawn(LogNormal(median=1000, sigma=0.77, low=200, high=4000))
    assert found[COUNT // 2] == pytest.approx(1000, rel=0.03)
    assert found[COUNT * 9 // 10] == pytest.approx(1000 * 2.7183 ** (1.2816 * 0.77), rel=0.03)
    assert (found[0], found[-1]) == (200, 4000)
    assert drawn(LogNormal(median=1e7, sigma=10, high=10_000_000))[-1] == 10_000_000


def test_empirical_and_mixture() -> None:
    """Quantiles are met; a mixture draws from each part as often as it weighs."""
    found = drawn(Empirical(quantiles=((0, 10), (0.9, 100), (1, 1000))))
    assert found[COUNT * 9 // 10] == pytest.approx(100, rel=0.05)
    parts = (Part(of=Fixed(tokens=1), weight=1), Part(of=Fixed(tokens=2), weight=3))
    assert statistics.fmean(drawn(Mixture(parts=parts))) == pytest.approx(1.75, abs=0.02)


def test_pairs() -> None:
    """Prompt and answer are drawn from streams of their own: another answer does not change the prompts."""
    short, long = (Independent(output=Fixed(tokens=tokens)).pairs(Rand(1), read) for tokens in (1, 2))
    assert [short()[0] for _ in range(20)] == [long()[0] for _ in range(20)]


def test_rows() -> None:
    """Rows keep prompt and answer together: in the file's order and round again, or by lot."""
    each = Rows(file="f", drawn=False).pairs(Rand(1), read)
    assert [each() for _ in range(4)] == [(50, 5), (10, 1), (20, 2), (50, 5)]
    lot = Rows(file="f").pairs(Rand(1), read)
    assert {lot() for _ in range(100)} == {(50, 5), (10, 1), (20, 2)}
    assert Rows(file="f").chosen(Rand(1), read)["rows"] == 3


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"kind": "uniform", "low": 5, "high": 4}, "low (5) is above high (4)"),
        ({"kind": "lognormal", "median": 5, "low": 5, "high": 4}, "low (5) is above high (4)"),
        ({"kind": "empirical", "quantiles": [[0, 1], [0.5, 2]]}, "the shares must rise from 0 to 1"),
        ({"kind": "empirical", "quantiles": [[0, 5], [1, 2]]}, "the tokens must rise"),
        ({"kind": "mixture", "parts": []}, "length >= 1"),
        ({"kind": "fixed", "tokens": -1}, ">= 0"),
    ],
)
def test_mistakes(spec: dict[str, object], said: str) -> None:
    """A distribution that makes no sense is refused with what is wrong."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(spec, Length)
    assert said in str(caught.value)
