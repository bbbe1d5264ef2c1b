"""What is said of the field's numbers: verdicts that can fail, and a picture with everybody in it."""

import json
from pathlib import Path
from xml.etree import ElementTree

from bench.field_report import picture, read, tables, verdict


def run(workload: str, who: str, seed: int, goodput: float, ttft_p95_s: float = 1.0) -> str:
    """A line of results."""
    numbers = {"goodput": goodput, "ttft_p50_s": 0.1, "ttft_p95_s": ttft_p95_s, "prefix_hits": 0.0, "failed": 0}
    return json.dumps({"workload": workload, "who": who, "seed": seed, **numbers})


def field(tmp_path: Path, *lines: str) -> Path:
    """A file of results."""
    file = tmp_path / "field.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_goodput_decides_by_its_mean(tmp_path: Path) -> None:
    """Within 5 % of the best it holds; oracles and opponents are no competitors."""
    lines = [
        run("w", "adaptive", 1, 0.9), run("w", "adaptive", 2, 0.8), run("w", "random", 1, 0.89),
        run("w", "oracle", 1, 1.0), run("w", "opponent:no_bound", 1, 0.1), run("w", "round_robin", 1, 0.5),
    ]  # fmt: skip
    one = verdict(read([field(tmp_path, *lines)])["w"])
    assert (one.by, one.best, one.worst, one.holds, one.is_worst) == ("goodput", "random", "round_robin", True, False)


def test_who_is_far_from_the_best_misses(tmp_path: Path) -> None:
    """More than 5 % below, and the worst of all."""
    lines = [run("w", "adaptive", 1, 0.84), run("w", "random", 1, 0.89)]
    one = verdict(read([field(tmp_path, *lines)])["w"])
    assert (one.holds, one.is_worst) == (False, True)


def test_where_all_are_good_the_first_token_decides(tmp_path: Path) -> None:
    """Above 99.9 % the times are compared."""
    lines = [run("w", "adaptive", 1, 1.0, 0.2), run("w", "random", 1, 1.0, 0.1), run("w", "slow", 1, 0.9, 9.0)]
    one = verdict(read([field(tmp_path, *lines)])["w"])
    assert (one.by, one.best, one.holds) == ("TTFT p95", "random", False)


def test_the_last_run_counts(tmp_path: Path) -> None:
    """A run that was done again replaces the one before."""
    found = read([field(tmp_path, run("w", "adaptive", 1, 0.1), run("w", "adaptive", 1, 0.7))])
    assert found["w"]["adaptive"].goodput == 0.7


def test_tables_and_picture_have_everybody(tmp_path: Path) -> None:
    """A row a strategy, a dot a strategy and workload; the bound is in the tables alone."""
    lines = [run(name, who, 1, 0.5) for name in ("v", "w") for who in ("bound", "oracle", "random", "adaptive")]
    found = read([field(tmp_path, *lines)])
    assert all(f"| `{who}` |" in tables(found) for who in ("bound", "oracle", "random", "adaptive"))
    drawn = ElementTree.fromstring(picture(found))
    titles = [title.text for title in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == 2 * 3
