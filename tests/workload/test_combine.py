"""Workloads of workloads keep order, lose nothing, and keep their parts' sessions and prefixes apart."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.base.registry import tag_of
from penstock.workload.combine import WORKLOADS, Spec, Workload, apart
from penstock.workload.lines import TraceError
from penstock.workload.oracle import prefix_bound
from penstock.workload.request import NS, Request

FILE = b"""at_s,prompt_tokens,output_tokens,blocks,block_tokens,session,turn,think_s
0,10,1,1 2,5,a,0,
1,20,2,1 3,5,b,0,
4,15,3,1 2 4,5,a,1,2
100,9,4,,,,,
"""
TRACE = {"kind": "trace", "file": "t"}
MADE = {"kind": "synthetic", "arrivals": {"kind": "poisson", "rate": 5}, "requests": 40, "shared": {"groups": 2}}
TALKS = {"kind": "sessions", "arrivals": {"kind": "poisson", "rate": 2}, "duration_s": 20}


def read(name: str) -> Iterator[bytes]:
    """The only file there is."""
    if name != "t":
        raise TraceError(name, 0, "", "No such file")
    yield FILE


def made(spec: dict[str, Any], seed: int = 1) -> list[Request]:
    """The requests of a spec."""
    return list(workload(spec, seed))


def workload(spec: dict[str, Any], seed: int = 1) -> Workload:
    """The workload of a spec; fields are named as in a file."""
    text = msgspec.json.encode(spec).replace(b'"duration_s"', b'"duration"')
    return Workload(msgspec.json.decode(text, type=Spec), seed, read)


def seconds(spec: dict[str, Any]) -> list[float]:
    """When its requests arrive."""
    return [request.at_s for request in made(spec)]


def test_trace() -> None:
    """A trace comes as it is in the file."""
    assert seconds(TRACE) == [0, 1, 4, 100]
    assert made(TRACE)[2] == Request(4 * NS, 15, 3, (1, 2, 4), 5, "a", turn=1, think_ns=2 * NS)


def test_merge() -> None:
    """Parts run at once; two of the same trace have the same times and neither sessions nor prefixes in common."""
    found = made({"kind": "merge", "of": [TRACE, TRACE]})
    assert [request.at_s for request in found] == [0, 0, 1, 1, 4, 4, 100, 100]
    assert found[0].blocks == (2, 4)
    assert found[1].blocks == (3, 5)
    assert (found[0].session, found[1].session, found[-1].session) == ("0/a", "1/a", "")
    hits = prefix_bound(made(TRACE)).hit_tokens
    assert prefix_bound(found).hit_tokens == 2 * hits > 0


def test_parts_have_their_own_luck() -> None:
    """Two parts of one spec are not the same requests."""
    one, two = ([r.at_ns for r in made({"kind": "merge", "of": [MADE, MADE]}) if r.blocks[0] % 2 == k] for k in (0, 1))
    assert len(one) == len(two) == 40
    assert one != two


def test_concat_and_loop() -> None:
    """One after the other, each from where the last one ended and the pause after it."""
    assert seconds({"kind": "concat", "of": [TRACE, TRACE], "pause": 10})[3:6] == [100, 110, 111]
    assert seconds({"kind": "loop", "of": TRACE, "times": 3, "pause": 10})[8:] == [220, 221, 224, 320]
    rounds = made({"kind": "loop", "of": MADE, "times": 2})
    assert [r.prompt_tokens for r in rounds[:40]] != [r.prompt_tokens for r in rounds[40:]]


def test_speed() -> None:
    """Twice as fast is half the time, also between turns; sizes stay."""
    found = made({"kind": "speed", "factor": 2, "of": TRACE})
    assert [request.at_s for request in found] == [0, 0.5, 2, 50]
    assert found[2].think_ns == NS


def test_rate() -> None:
    """Two and a half times as many: two whole copies and half of another, shifted, with prefixes of their own."""
    spec = {"kind": "rate", "factor": 2.5, "spread": 30, "of": TALKS}
    sessions = Counter(request.session.split("/")[0] for request in made(spec))
    base = len(made(TALKS))
    assert sessions["0"] == sessions["1"] == base
    assert 0 < sessions["2"] < base
    shifts = workload(spec).describe()["chosen"]["shifts_s"]
    assert shifts[0] == 0
    assert 0 < shifts[1] != shifts[2] <= 30
    assert made({"kind": "rate", "factor": 1, "of": TALKS}) == made(TALKS)


def test_thin_keeps_sessions_whole() -> None:
    """Of sessions all turns are kept or none, of single requests the wanted share, and all or nothing at 1 and 0."""
    whole = Counter(request.session for request in made(TALKS))
    kept = Counter(request.session for request in made({"kind": "thin", "keep": 0.5, "of": TALKS}))
    assert all(whole[session] == turns for session, turns in kept.items())
    assert 0.2 < len(kept) / len(whole) < 0.8
    many = MADE | {"requests": 4000}
    assert len(made({"kind": "thin", "keep": 0.25, "of": many})) / 4000 == pytest.approx(0.25, abs=0.02)
    assert made({"kind": "thin", "keep": 1, "of": TRACE}) == made(TRACE)
    assert made({"kind": "thin", "keep": 0, "of": TRACE}) == []


def test_cut() -> None:
    """A piece begins at 0 again and ends before its end, or at its number of requests."""
    assert seconds({"kind": "cut", "from": 1, "to": 100, "of": TRACE}) == [0, 3]
    assert seconds({"kind": "cut", "requests": 2, "of": TRACE}) == [0, 1]


def test_close_gaps() -> None:
    """A gap longer than allowed shrinks to what is allowed, and all that follows moves along."""
    assert seconds({"kind": "close_gaps", "longest": 2, "of": TRACE}) == [0, 1, 3, 5]


def test_label() -> None:
    """Labels are laid over what a trace says; what is not named stays."""
    spec = {
        "kind": "label",
        "tenant": {"kind": "one", "name": "x"},
        "priority": {"kind": "one", "name": "low"},
        "alike": {"kind": "one", "name": "k"},
        "of": TRACE,
    }
    for found, was in zip(made(spec | {"deadline": 3}), made(TRACE), strict=True):
        assert (found.tenant, found.priority, found.alike, found.deadline_ns) == ("x", 3, "k", 3 * NS)
        assert (found.at_ns, found.blocks, found.session) == (was.at_ns, was.blocks, was.session)
    with pytest.raises(msgspec.ValidationError, match="'x' is no priority"):
        made({"kind": "label", "priority": {"kind": "one", "name": "x"}, "of": TRACE})


def test_restart_and_seed() -> None:
    """Iterating again gives the same requests; another seed gives others."""
    work = workload({"kind": "merge", "of": [MADE, TALKS]})
    assert list(work) == list(work) != made({"kind": "merge", "of": [MADE, TALKS]}, seed=2)


def test_describe() -> None:
    """The choice is told: the seed, every field with its default, and what the seed decided, part by part."""
    told = workload({"kind": "merge", "of": [MADE, TRACE]}, seed=7).describe()
    assert told["seed"] == 7
    assert told["workload"]["of"][0]["shared"]["exponent"] == 1.0
    assert told["chosen"] == {
        "of": [{"shared_tokens_total": 2048, "shared_blocks": 32, "shared_tokens": [1024, 1024]}, {}]
    }
    assert msgspec.json.encode(told)


def test_missing_files_are_told() -> None:
    """A file that is not there is told when the stream is asked for."""
    with pytest.raises(TraceError, match="none: No such file"):
        made({"kind": "trace", "file": "none"})


def test_every_kind_is_registered() -> None:
    """The list of kinds is the one that the documentation has."""
    assert WORKLOADS.names() == [
        "synthetic", "sessions", "trace", "servegen", "merge", "concat", "loop", "speed", "rate", "thin", "cut",
        "close_gaps", "label",
    ]  # fmt: skip
    assert [tag_of(WORKLOADS.spec(name)) for name in WORKLOADS.names()] == WORKLOADS.names()


def test_apart() -> None:
    """The ids of n parts are n sorts of numbers; a single part stays as it is."""
    rows = [Request(0, 10, 1, (0, 1, 2), 5, "s"), Request(0, 10, 1)]
    assert list(apart(iter(rows), 0, 1)) == rows
    first, second = apart(iter(rows), 2, 3)
    assert (first.blocks, first.session) == ((2, 5, 8), "2/s")
    assert second == rows[1]


LEAVES = st.sampled_from([TRACE, MADE, TALKS])


def _above(parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    many = st.lists(parts, min_size=1, max_size=3)
    return st.one_of(
        st.builds(lambda of: {"kind": "merge", "of": of}, many),
        st.builds(lambda of, pause: {"kind": "concat", "of": of, "pause": pause}, many, st.integers(0, 5)),
        st.builds(lambda of, times: {"kind": "loop", "of": of, "times": times}, parts, st.integers(1, 2)),
        st.builds(lambda of, by: {"kind": "speed", "of": of, "factor": by}, parts, st.sampled_from([0.5, 3])),
        st.builds(lambda of, by: {"kind": "rate", "of": of, "factor": by}, parts, st.sampled_from([0.5, 1.5, 2])),
        st.builds(lambda of: {"kind": "close_gaps", "of": of, "longest": 1}, parts),
    )


def expected(spec: dict[str, Any]) -> float:
    """How many requests a combination of whole parts has."""
    kind = spec["kind"]
    if kind in ("merge", "concat"):
        return sum(expected(part) for part in spec["of"])
    if kind == "rate" and spec["factor"] % 1:
        return float("nan")
    times: float = spec["times"] if kind == "loop" else spec["factor"] if kind == "rate" else 1
    return times * expected(spec["of"]) if "of" in spec else len(made(spec)) if spec is not TALKS else float("nan")


@settings(max_examples=25, deadline=None)
@given(st.recursive(LEAVES, _above, max_leaves=4))
def test_always(spec: dict[str, Any]) -> None:
    """Whatever is combined: times rise from 0 on, the same every time, requests are neither lost nor added where
    everything is taken, and turns of a session keep their order."""
    found = made(spec)
    assert found == made(spec)
    times = [request.at_ns for request in found]
    assert times == sorted(times)
    assert not times or times[0] >= 0
    want = expected(spec)
    assert want != want or len(found) == want
    turns: dict[str, int] = {}
    for request in found:
        if request.session.rsplit("/", 1)[-1].startswith("s"):
            assert request.turn == turns.get(request.session, 0)
            turns[request.session] = request.turn + 1
