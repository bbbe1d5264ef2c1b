"""What `penstock top` shows, at several sizes."""

import io

import pytest
from rich.console import Console

from penstock.base.nouns import ReplicaView
from penstock.cli.rates import Look, Rates
from penstock.cli.screen import SORTS, Screen, Sort, bar, draw, milliseconds, ordered, percent, rate
from tests.helpers.desk import gpu, pool_view, replica_view

RATES = Rates(
    interval_s=1.0, calls_per_s=12.5, prompt_tokens_per_s=900.0, completion_tokens_per_s=1234.0, error_share=0.02,
    ttft_p50_s=0.04, ttft_p95_s=1.2, replica_calls_per_s={"gpu1": 12.5}, replica_error_share={"gpu1": 0.02},
    replica_hit_share={"gpu1": 0.33},
)  # fmt: skip


def shown(screen: Screen, width: int = 80, height: int | None = 24) -> list[str]:
    """The lines on a terminal of this size."""
    console = Console(
        file=io.StringIO(), width=width, height=height, markup=False, highlight=False, force_terminal=False
    )
    console.print(draw(screen, height))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in text.splitlines()]


def screen(replicas: list[ReplicaView], **fields: object) -> Screen:
    """A screen over these replicas and one pool."""
    look = Look(at=1.0, replicas=replicas, pools=[pool_view()])
    return Screen(url="http://127.0.0.1:9090", look=look, **{"rates": RATES, **fields})  # type: ignore[arg-type]


def test_everything_on_eighty_columns() -> None:
    """Totals, pools and replicas, each word in its place, none cut."""
    lines = shown(screen([replica_view(gpus=(gpu(0.91, 71.0),))], keys=True))
    assert lines[0] == "penstock top  1/1 replicas well  in flight 2/8  queued 3  http://127.0.0.1:9090"
    assert lines[1] == "12.5 req/s  1234 tok/s out  900 in  errors 2%  TTFT p50 40ms p95 1.2s"
    assert lines[3].split() == [
        "pool", "strategy", "seats", "queued", "crit/high/norm/low/batch", "oldest", "satur", "fair",
    ]  # fmt: skip
    assert lines[4].split() == ["main", "adaptive", "██····", "2/8", "3", "0/1/2/0/0", "1.5s", "0.50", "0.90"]
    assert lines[6].split() == [
        "replica", "state", "seats", "load", "ttft", "req/s", "err", "run", "wait", "kv", "hit", "gpu",
    ]  # fmt: skip
    assert lines[7].split() == [
        "gpu1", "healthy", "██····", "2/8", "0.25", "120ms", "12.5", "2%", "2", "1", "50%", "33%", "91%", "71°",
    ]  # fmt: skip
    assert lines[8] == "sorted by state, the worst first; s: sort by another, q: end"
    assert max(map(len, lines)) <= 80


def test_thousands_of_replicas_fit() -> None:
    """The worst of them are shown, the rest is counted, and the window is not overrun."""
    many = [replica_view(f"gpu{number:04}", load=number / 5000) for number in range(5000)]
    many[17] = replica_view("gpu0017", state="unhealthy")
    for height in (24, 50, 12):
        lines = shown(screen(many), height=height)
        assert len(lines) <= height
        assert lines[7].startswith("gpu0017 unhealthy")
        assert lines[8].startswith("gpu4999")
        assert f"; {5000 - (len(lines) - 8):,} more replicas" in lines[-1]


def test_long_names_leave_room() -> None:
    """An id that is too long loses its beginning."""
    lines = shown(screen([replica_view("engine-7.models.svc.cluster.local:8000")]))
    assert lines[7].split()[:2] == ["…svc.cluster.local:8000"[0] + "svc.cluster.local:8000"[-21:], "healthy"]


def test_trouble_is_said_over_the_old_numbers() -> None:
    """A gateway that is gone for a moment: what was seen stays, and a line says so."""
    lines = shown(screen([replica_view()], trouble="no gateway answers; for 3 s, trying again"))
    assert lines[2] == "no gateway answers; for 3 s, trying again"
    assert any(line.startswith("gpu1") for line in lines)


def test_before_the_second_look_there_are_no_rates() -> None:
    """It says so, and shows what it has."""
    lines = shown(screen([replica_view(stats=None, ttft_ewma_s=None)], rates=None))
    assert lines[1] == "rates come with the next look"
    assert lines[7].split() == ["gpu1", "healthy", "██····", "2/8", "0.25", "-", "-", "0%", "-", "-", "-", "-"]


WORST = {"state": "ill", "load": "full", "errors": "wrong", "ttft": "slow", "rate": "gpu1", "name": "full"}


@pytest.mark.parametrize(("sort", "first"), WORST.items())
def test_the_worst_come_first(sort: Sort, first: str) -> None:
    """By whichever number."""
    replicas = [
        replica_view("gpu1"), replica_view("slow", ttft_ewma_s=9.0), replica_view("wrong", error_rate=0.5),
        replica_view("full", load=0.7), replica_view("ill", state="unhealthy"),
    ]  # fmt: skip
    rates = Rates(
        interval_s=1.0, calls_per_s=0.0, prompt_tokens_per_s=0.0, completion_tokens_per_s=0.0, error_share=None,
        ttft_p50_s=None, ttft_p95_s=None, replica_calls_per_s={"gpu1": 1.0}, replica_error_share={},
        replica_hit_share={},
    )  # fmt: skip
    assert ordered(Look(at=0.0, replicas=replicas, pools=[]), rates, sort)[0].id == first
    assert sort in SORTS


def test_numbers_in_few_characters() -> None:
    """Each has its place in a narrow column."""
    assert [milliseconds(value) for value in (None, 0.0421, 4.2, 421.0)] == ["-", "42ms", "4.2s", "421s"]
    assert [percent(value) for value in (None, 0.004, 1.0)] == ["-", "0%", "100%"]
    assert [rate(value) for value in (None, 1.25, 125.0, 12500.0)] == ["-", "1.2", "125", "12k"]
    assert [bar(*value) for value in ((0, 8), (1, 8), (8, 8), (9, 8), (0, 0))] == [
        "······", "█·····", "██████", "██████", "······",
    ]  # fmt: skip


def test_many_pools_are_cut() -> None:
    """Those with the longest queues are shown."""
    pools = [pool_view(f"p{number}", queued=number) for number in range(20)]
    lines = shown(Screen(url="u", look=Look(at=1.0, replicas=[replica_view()], pools=pools), rates=RATES), height=24)
    assert lines[4].startswith("p19 ")
    assert "and 12 more" in lines
    assert len(lines) <= 24
