"""Explanations: the Gate's trails as people and programs read them. A reader: it looks, and nobody waits for it.

Carries ids, names and numbers; never a prompt, never a key.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from struct import unpack

from msgspec.structs import asdict

from penstock.base.nouns import PRIORITIES, CallRow
from penstock.core.steps import Chosen, Pairs, Step, Trail
from penstock.telemetry.explained import Candidate, Choice, Explanation, LeftOut, Moment, Short, Weight
from penstock.telemetry.story import reason, tell, told_of

DIGITS = 6
"""Scores are kept as 32-bit floats: further digits would be noise."""


def explain(trail: Trail) -> Explanation:
    """A trail in full."""
    row, steps = trail.row, trail.steps()
    choices = [_choice(step, row.at) for step in steps if isinstance(step, Chosen)]
    return Explanation(
        id=row.id, client_id=row.client_id, over=trail.over, at=row.at, tenant=row.tenant, model=row.model,
        path=row.path, pool=row.pool, replica=row.replica, outcome=row.outcome, status=row.status,
        attempts=row.attempts, queue_s=row.queue_s, ttft_s=row.ttft_s, latency_s=row.latency_s, usage=row.usage,
        profile=trail.profile(), summary=tell(trail, steps, choices), timeline=_timeline(row, steps, trail.over),
        choices=choices,
    )  # fmt: skip


def newest(trails: Iterable[Trail], last: int, **wanted: str) -> list[Short]:
    """The last calls that are over. `wanted`: model, tenant, replica or outcome; the outcome "error" is all but ok."""
    rows = (trail.row for trail in trails)
    return [_short(row) for row in islice((row for row in rows if _is(row, wanted)), last)]


def _is(row: CallRow, wanted: dict[str, str]) -> bool:
    for name, value in wanted.items():
        if name == "outcome" and value == "error":
            if row.outcome == "ok":
                return False
        elif getattr(row, name) != value:
            return False
    return True


def _short(row: CallRow) -> Short:
    return Short(**{name: getattr(row, name) for name in Short.__struct_fields__})


# ===== choices =====


def numbers_of(step: Chosen) -> list[list[float]]:
    """Scores by scorer, then by candidate, as they were packed."""
    count = len(step.candidates)
    flat = unpack(f"{len(step.numbers) // 4}f", step.numbers)
    return [list(flat[at : at + count]) for at in range(0, len(flat), count)] if count else []


def _choice(step: Chosen, arrived: float) -> Choice:
    columns = numbers_of(step)
    totals = [
        sum(weight * score for (_, weight), score in zip(step.scorers, row, strict=True))
        for row in zip(*columns, strict=True)
    ]
    best = max(totals, default=0.0)
    found = [
        Candidate(
            replica=name, chosen=name == step.replica, total=round(totals[at], DIGITS) if totals else None,
            scores={scorer: round(column[at], DIGITS) for (scorer, _), column in zip(step.scorers, columns)},
        )
        for at, name in enumerate(step.candidates)
    ]  # fmt: skip
    if totals:
        found.sort(key=lambda one: (-(one.total or 0.0), not one.chosen))
    return Choice(
        attempt=step.attempt, at_s=step.at - arrived, replica=step.replica, pool=step.pool, model=step.model,
        strategy=step.strategy, how=step.how, picker=step.picker,
        scorers=[Weight(name, weight) for name, weight in step.scorers], candidates=found,
        tied=sum(round(total, DIGITS) == round(best, DIGITS) for total in totals), usable=step.usable,
        left_out=left_out(step.left, step.at), left_out_count=max(step.left_count, len(step.left) // 2),
        note=list(step.note), doubt=step.doubt,
    )  # fmt: skip


def left_out(pairs: Pairs, at: float) -> list[LeftOut]:
    """Who was left out, and why."""
    return [LeftOut(replica, reason(why, at)) for replica, why in zip(pairs[::2], pairs[1::2], strict=True)]


# ===== the timeline =====

_HIDDEN = ("at", "before", "size", "numbers", "candidates", "scorers", "left", "note", "picker", "served")
"""Fields of steps that stand elsewhere or say nothing to people."""


def _timeline(row: CallRow, steps: Sequence[Step], over: bool) -> list[Moment]:
    moments = [Moment(at_s=0.0, what="arrived", text=f"arrived from {row.tenant}")]
    begun = None if row.ttft_s is None else Moment(at_s=row.ttft_s, what="began", text="the answer began")
    moments += [_moment(step, row.at) for step in steps]
    if begun is not None:  # nothing but the end follows it, or an attempt that was cut
        behind = sum(step.at - row.at > begun.at_s for step in steps)
        moments.insert(len(moments) - behind, begun)
    if over:
        text = "answered" if row.outcome == "ok" else row.outcome
        moments.append(Moment(at_s=row.latency_s, what="over", text=f"{text}, status {row.status}"))
    else:
        moments.append(Moment(at_s=row.latency_s, what="now", text=f"still {row.outcome}"))
    return moments


def _moment(step: Step, arrived: float) -> Moment:
    details = {name: value for name, value in asdict(step).items() if name not in _HIDDEN}
    for name in ("meanwhile",):
        if name in details:
            pairs = zip(PRIORITIES, details[name], strict=True)
            details[name] = {priority: count for priority, count in pairs if count}
    return Moment(at_s=step.at - arrived, what=type(step).__name__.lower(), text=told_of(step), details=details)
