"""`python -m bench.semantic`: what the semantic cache gets right and wrong, by threshold, with its guard and without.

`questions.tsv` has pairs of questions: the same in other words, and such as are much alike and must not have one answer
(another number, unit, name or topic, a negation, the opposite, another order, another quoted text). The first set was
there while the guard was written. The second was written afterwards, and the guard not changed since: it tells more.
Both are made by hand, by who wrote the guard; they are no sample of anybody's traffic, and negatives are as hard as
could be thought of.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.cache_cost import fastest_us
from penstock.adapters.embedders.local import Local
from penstock.core.cache.marks import differs, marks_of
from penstock.core.cache.nearest import Nearest, Vector, unit
from penstock.gateway.cache.question import question_of

QUESTIONS = Path(__file__).parent / "questions.tsv"
THRESHOLDS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 0.98)


class Pair(NamedTuple):
    """Two questions."""

    part: str
    kind: str
    """same, or in what they differ."""
    one: str
    other: str


class Judged(NamedTuple):
    """What is found of a pair."""

    pair: Pair
    similarity: float
    mark: str
    """In what the guard sees that they differ; empty: in nothing."""


class Row(NamedTuple):
    """Of one threshold."""

    part: str
    threshold: float
    guard: bool
    true_hits: int
    same: int
    false_hits: int
    different: int
    kinds: dict[str, int]
    """Of the false hits."""

    @property
    def precision(self) -> float | None:
        """Share of hits that are right, were half of the pairs the same; None: there are none."""
        right, wrong = self.true_hits / self.same, self.false_hits / self.different
        return right / (right + wrong) if right + wrong else None


def read_pairs(path: Path = QUESTIONS) -> list[Pair]:
    """The pairs."""
    return [Pair(*line.split("\t")) for line in path.read_text(encoding="utf-8").splitlines()]


def embedder(local: Local) -> Callable[[str], Vector]:
    """A text's vector of the length 1."""

    def vector(text: str) -> Vector:
        found: list[Collection[float] | None] = []
        local.embed(text, found.append)
        assert found[0] is not None
        told = unit(found[0])
        assert told is not None
        return told

    return vector


def judge(pairs: Iterable[Pair], vector: Callable[[str], Vector]) -> list[Judged]:
    """How similar each pair is, and what the guard says."""
    return [
        Judged(pair, float(vector(pair.one) @ vector(pair.other)), differs(marks_of(pair.one), marks_of(pair.other)))
        for pair in pairs
    ]


def rows(judged: Sequence[Judged], thresholds: Iterable[float] = THRESHOLDS) -> list[Row]:
    """Set by set, threshold by threshold, without the guard and with it."""
    found = []
    for part in dict.fromkeys(one.pair.part for one in judged):
        of_part = [one for one in judged if one.pair.part == part]
        same = sum(one.pair.kind == "same" for one in of_part)
        for threshold in thresholds:
            for guard in (False, True):
                hits = [one for one in of_part if one.similarity >= threshold and not (guard and one.mark)]
                wrong = Counter(one.pair.kind for one in hits if one.pair.kind != "same")
                right = len(hits) - wrong.total()
                kinds = dict(sorted(wrong.items()))
                found.append(Row(part, threshold, guard, right, same, wrong.total(), len(of_part) - same, kinds))
    return found


def crossed(pairs: Sequence[Pair], vector: Callable[[str], Vector], threshold: float) -> tuple[int, list[str]]:
    """Every question of the file with every other one that is not said to be the same, nor in a pair with it: how many
    such there are, and those that the guard lets pass at the threshold, the most similar first, for people to judge."""
    same: dict[str, str] = {}

    def root(text: str) -> str:
        while same.setdefault(text, text) != text:
            text = same[text]
        return text

    for pair in pairs:
        root(pair.one), root(pair.other)
        if pair.kind == "same":
            same[root(pair.one)] = root(pair.other)
    texts = sorted(same)
    vectors, marks = [vector(text) for text in texts], [marks_of(text) for text in texts]
    judged = {frozenset((pair.one, pair.other)) for pair in pairs}
    count, passed = 0, list[tuple[float, str]]()
    for at, text in enumerate(texts):
        for before in range(at):
            if root(text) == root(texts[before]) or frozenset((text, texts[before])) in judged:
                continue
            count += 1
            similarity = float(vectors[at] @ vectors[before])
            if similarity >= threshold and not differs(marks[at], marks[before]):
                passed.append((similarity, f"{similarity:.3f} {texts[before]} | {text}"))
    return count, [line for _, line in sorted(passed, reverse=True)]


def costs(vector: Callable[[str], Vector], count: int, rounds: int) -> dict[str, float]:
    """Microseconds of each part of a comparison."""
    found: dict[str, float] = {}
    words = "How do I reset the password of my account when I have lost my phone? "
    for size in (64, 256, 512):
        text = (words * 8)[:size]
        body = json.dumps({"model": "m", "temperature": 0, "messages": [{"role": "user", "content": text}]}).encode()

        def read(body: bytes = body) -> object:
            return question_of("/v1/chat/completions", body, 512)

        found[f"question of a body, {size} characters"] = fastest_us(read, count, rounds)
        found[f"embedding, {size} characters"] = fastest_us(lambda text=text: vector(text), count, rounds)  # type: ignore[misc]
        found[f"marks, {size} characters"] = fastest_us(lambda text=text: marks_of(text), count, rounds)  # type: ignore[misc]
    asked, marks = vector(words), marks_of(words)
    for kept in (100, 1_000, 10_000):
        nearest = Nearest(kept)
        for number in range(kept):
            nearest.add(str(number), "f", vector(f"Question {number} of {kept}"), marks_of(f"Question {number}"))
        found[f"search among {kept:,}, none fits"] = fastest_us(
            lambda nearest=nearest: nearest.find("f", asked, marks), max(1, count // 4), rounds  # type: ignore[misc]
        )  # fmt: skip
    return found


def table(found: Iterable[Row]) -> str:
    """For people."""
    lines = [
        "| set | threshold | guard | same questions found | different ones taken for the same | of which |",
        "|---|---|---|---|---|---|",
    ]
    for row in found:
        kinds = ", ".join(f"{kind} {count}" for kind, count in row.kinds.items())
        lines.append(
            f"| {row.part} | {row.threshold:.2f} | {'yes' if row.guard else 'no'} | {row.true_hits} of {row.same}"
            f" ({row.true_hits / row.same:.0%}) | {row.false_hits} of {row.different}"
            f" ({row.false_hits / row.different:.0%}) | {kinds} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.semantic", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows there, one a line")
    parser.add_argument("--costs", action="store_true", help="microseconds as well")
    parser.add_argument("--wrong", type=float, metavar="THRESHOLD", help="the pairs that pass the guard wrongly there")
    parser.add_argument("--crossed", type=float, metavar="THRESHOLD", help="all other pairs of the questions as well")
    asked = parser.parse_args()
    vector = embedder(Local())
    judged = judge(read_pairs(), vector)
    found = rows(judged)
    print(table(found))
    if asked.json is not None:
        asked.json.write_text("".join(json.dumps(row._asdict()) + "\n" for row in found), encoding="utf-8")
    for one in sorted(judged, key=lambda one: -one.similarity) if asked.wrong is not None else ():
        if one.pair.kind != "same" and not one.mark and one.similarity >= asked.wrong:
            print(f"{one.similarity:.3f} {one.pair.kind}: {one.pair.one} | {one.pair.other}")
    if asked.crossed is not None:
        count, passed = crossed(read_pairs(), vector, asked.crossed)
        print(f"Of {count:,} other pairs of these questions the guard lets {len(passed)} pass:", *passed, sep="\n")
    for name, us in costs(vector, 400, 9).items() if asked.costs else ():
        print(f"{name}: {us:.1f} µs")


if __name__ == "__main__":
    main()
