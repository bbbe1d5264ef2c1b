"""Durations and sizes as people write them, there and back."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.base.units import Bytes, Fraction, Seconds, parse_bytes, parse_seconds, show_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0), ("500ms", 0.5), ("1m30s", 90.0), ("2h", 7200.0), ("1d", 86400.0), ("250us", 0.00025),
        ("1.5m", 90.0), ("10 s", 10.0), (" 7s ", 7.0), ("12", 12.0), ("0", 0.0), ("0.25", 0.25), (".5", 0.5),
        ("1e-3", 0.001), ("-5", -5.0), ("1h1m1s1ms", 3661.001),
    ],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    """Units, sums of units, bare numbers (bounds are the field's business)."""
    assert parse_seconds(text) == pytest.approx(seconds, abs=1e-12)


@pytest.mark.parametrize(
    "text",
    ["", " ", "s", "5x", "5 parsecs", "1m-30s", "nan", "inf", "infinity", "1_000", "1e999", "1,5s", "1m 30s"],
)
def test_what_is_no_duration(text: str) -> None:
    """Nonsense raises ValueError that shows how to write it: never NaN, never infinity, which no timer survives."""
    with pytest.raises(ValueError, match="like 30s, 500ms, 1m30s"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("17", 17), ("17b", 17), ("64KiB", 65536), ("32MiB", 33554432), ("1GiB", 1 << 30), ("2kb", 2000),
        ("2k", 2000), ("3MB", 3_000_000), ("1.5Ki", 1536), ("1 gb", 10**9), (" 5 ki ", 5120),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    """Powers of 1,000 and of 1,024, in any case."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "KiB", "-1", "1TB", "1.5.2k", "five", "1e3", "nan"])
def test_what_is_no_size(text: str) -> None:
    """Nonsense raises ValueError that shows how to write it."""
    with pytest.raises(ValueError, match="like 64KiB, 32MiB, 1GiB"):
        parse_bytes(text)


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.sampled_from(["us", "ms", "s", "m", "h", "d"]))
def test_a_whole_number_of_a_unit_reads_as_that_much(count: int, unit: str) -> None:
    """For every unit, whatever the number."""
    one = parse_seconds(f"1{unit}")
    assert parse_seconds(f"{count}{unit}") == pytest.approx(count * one)


@settings(max_examples=50)
@given(st.text(alphabet="0123456789.,+-_ eusmhdkKibnaf٣", max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Reading raises ValueError or returns a finite number; nothing else happens."""
    for parse in (parse_seconds, parse_bytes):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert abs(value) < 1e120


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0 µs"), (12e-6, "12 µs"), (0.9994e-3, "999 µs"), (0.9996e-3, "1 ms"), (0.0123, "12.3 ms"),
        (0.9994, "999 ms"), (0.9996, "1 s"), (5.25, "5.25 s"), (119.4, "119 s"), (119.6, "1.99 min"),
        (150.0, "2.5 min"), (60_000.0, "16.7 h"),
    ],
)  # fmt: skip
def test_durations_for_people(seconds: float, shown: str) -> None:
    """Three digits in the unit that fits, also at the borders."""
    assert show_seconds(seconds) == shown


def test_fields_carry_their_bounds() -> None:
    """A negative duration, a negative size and a share above 1 are refused where specs are read."""
    for kind, wrong in ((Seconds, -1.0), (Bytes, -1), (Fraction, 1.01)):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, kind)
    assert msgspec.convert(0, Seconds) == 0.0
