"""What is written in our own format is read back to the very same requests."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.workload.export import decimal_s, to_csv, to_json_lines
from penstock.workload.formats import read_trace
from penstock.workload.request import Request

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), max_size=8)
REQUESTS = st.builds(
    Request,
    at_ns=st.integers(0, 10**17),
    prompt_tokens=st.integers(1, 10**7),
    output_tokens=st.integers(0, 10**7),
    blocks=st.lists(st.integers(0, 2**63 - 1), max_size=5).map(tuple),
    block_tokens=st.just(64),
    session=NAMES,
    tenant=NAMES,
    model=NAMES,
    adapter=NAMES,
    priority=st.integers(0, 4),
    turn=st.integers(0, 1000),
    think_ns=st.integers(0, 10**12),
    deadline_ns=st.none() | st.integers(0, 10**12),
    alike=NAMES,
)


@settings(max_examples=25)
@given(st.lists(REQUESTS, min_size=1, max_size=5))
def test_round_trip(requests: list[Request]) -> None:
    """Requests, written as CSV or as JSON lines and read again, are the same to the nanosecond."""
    requests.sort(key=lambda request: request.at_ns)
    start_ns = requests[0].at_ns
    for write in (to_csv, to_json_lines):
        found = read_trace(b"".join(write(requests)), "x")
        assert [(r.at_ns + start_ns, *_rest(r)) for r in found] == [(r.at_ns, *_rest(r)) for r in requests]


def _rest(request: Request) -> tuple[object, ...]:
    return (
        request.prompt_tokens, request.output_tokens, request.blocks, request.block_tokens, request.session,
        request.tenant, request.model, request.adapter, request.priority, request.turn, request.think_ns,
        request.deadline_ns, request.alike,
    )  # fmt: skip


def test_literal() -> None:
    """The written forms, letter by letter; fields that say nothing are left out or empty."""
    rows = [Request(1_500_000_000, 10, 2), Request(2_000_000_001, 9, 1, (7, 8), 4, "s", priority=0, turn=1, alike="k")]
    assert b"".join(to_json_lines(rows)) == (
        b'{"at_s":1.5,"prompt_tokens":10,"output_tokens":2}\n'
        b'{"at_s":2.000000001,"prompt_tokens":9,"output_tokens":1,"blocks":[7,8],"block_tokens":4,"session":"s",'
        b'"priority":"critical","turn":1,"alike":"k"}\n'
    )
    assert b"".join(to_csv(rows)) == (
        b"at_s,prompt_tokens,output_tokens,blocks,block_tokens,session,tenant,model,adapter,priority,turn,think_s,"
        b"deadline_s,alike\n1.5,10,2,,,,,,,,,,,\n2.000000001,9,1,7 8,4,s,,,,critical,1,,,k\n"
    )


def test_line_ends_do_not_fit_a_csv() -> None:
    """A name with a line end is refused as CSV, which is read line by line, and fits JSON."""
    rows = [Request(0, 1, 1, tenant="a\nb")]
    with pytest.raises(ValueError, match="has a line end"):
        list(to_csv(rows))
    assert read_trace(b"".join(to_json_lines(rows)), "x") == rows


@pytest.mark.parametrize(("at_ns", "text"), [(0, "0"), (1, "0.000000001"), (10 * 10**9, "10"), (1_500_000_000, "1.5")])
def test_decimals(at_ns: int, text: str) -> None:
    """Nanoseconds are written as seconds without a digit too many or too few."""
    assert decimal_s(at_ns) == text
