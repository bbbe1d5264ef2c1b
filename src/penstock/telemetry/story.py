"""The way of a call in plain words: one line a step, and one paragraph for the whole. Pure text, no decisions.

A scorer or picker that this file has never heard of is told by its name.
"""

from collections.abc import Sequence
from typing import Any

from penstock.base.errors import REFUSALS
from penstock.base.nouns import PRIORITIES
from penstock.core.steps import (
    UNTIL,
    Barred,
    Chosen,
    Denied,
    Given,
    Hedged,
    Joined,
    LetIn,
    Lost,
    Moved,
    Pairs,
    Paused,
    Queued,
    Refused,
    Step,
    Stopped,
    Trail,
    Unqueued,
)
from penstock.telemetry.explained import Choice

MOST_NAMED = 5
WHY_QUEUED = {
    "full": "no free seat",
    "behind": "others were waiting already",
    "held": "its engines were near collapse, and its priority was held back",
    "nobody": "no replica could serve the model",
    "bound": "the pool had as many calls in flight as it may",
    "pinned": "it is pinned to one replica, which had no free seat for it",
    "share": "its tenant has its share of the seats, and others came first",
}
WHY_HEDGED = {
    "sent": "slow to begin: a second attempt was made beside it (hedge)",
    "no_budget": "slow to begin, and the budget for hedges was spent",
    "no_room": "slow to begin, and there was no room for a second attempt",
}
WHY_DENIED = {
    "budget": "the retry budget was spent",
    "attempts": "all attempts were used up",
    "useless": "another attempt would not end better",
    "unrepeatable": "it must not be done twice, and had been sent",
    "gone": "its pool is gone",
}
REGIONAL = {
    "nearness": ("ms for the way", "for its load", "for its time to begin", "for its price"),
    "points": ("points for the way", "for its load", "for the model", "for its price"),
}
"""What the numbers beside a choice across regions are."""
_LOTS = {
    "turns": "it was its turn",
    "smooth_turns": "it was its turn, by weight",
    "lot": "by lot",
}
LOWEST_ID = ("least_connections", "consistent_hash")
"""Strategies in which the lowest id decides between equals; elsewhere the lot does."""


def seconds(value: float) -> str:
    """A time as people say it."""
    return f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.2f} s"


def count(number: int, what: str) -> str:
    """1 call, 2 calls."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def reason(told: str, at: float) -> str:
    """Why a replica was left out, and for how much longer, where that was known then."""
    text, _, until = told.partition(UNTIL)
    return f"{text}, for {seconds(float(until) - at)} more" if until else text


def listed(pairs: Pairs, total: int) -> str:
    """Who was left out, the first few by name."""
    named = [f"{name} ({why})" for name, why in zip(pairs[::2], pairs[1::2], strict=True)][:MOST_NAMED]
    more = total - len(named)
    return ", ".join(named) + (f" and {more:,} more" if more > 0 else "")


# ===== steps =====


def _queued(step: Queued) -> str:
    text = f"{'waits beside' if step.retry else 'joins'} the queue of {step.pool}: {WHY_QUEUED[step.why]}"
    if step.why == "pinned":
        text += f" ({step.left[0]})"
    elif step.left:
        pairs = tuple(reason(part, step.at) if at % 2 else part for at, part in enumerate(step.left))
        text += f": {listed(pairs, len(pairs) // 2)}"
    ahead = f"{step.better:,} of a higher priority, {step.equal:,} of its own, {step.own:,} of its tenant"
    return f"{text}; {count(step.waiting, 'call')} waited there ({ahead})" if step.waiting else f"{text}; nobody waited"


def _unqueued(step: Unqueued) -> str:
    stayed = count(step.waiting, "call")
    return f"leaves the queue: {stayed} stayed; meanwhile {passed(step)} got a seat{_out_of_turn(step)}"


def passed(step: Unqueued) -> str:
    """The others that were given a seat."""
    others = sum(step.meanwhile)
    parts = [f"{number:,} {name}" for name, number in zip(PRIORITIES, step.meanwhile, strict=True) if number]
    return f"{count(others, 'other')} ({', '.join(parts)})" if others else "no other"


def _out_of_turn(step: Unqueued) -> str:
    """Who was served before whom for the sake of prefix caches."""
    text = ""
    if step.overtaken:
        text += f"; {count(step.overtaken, 'later call')} of its tenant went first, by prefix cache"
    if step.overtook:
        text += f"; it went before {count(step.overtook, 'earlier call')} of its tenant, by prefix cache"
    return text


def _chosen(step: Chosen) -> str:
    by = {"bond": "its session's", "ring": "by the ring"}.get(step.how, step.strategy)
    return f"attempt {step.attempt} goes to {step.replica} ({by}), out of {step.usable:,} usable"


def _lost(step: Lost) -> str:
    status = f", status {step.status}" if step.status else ""
    again = "" if step.retry_after_s is None else f", asks for a pause of {seconds(step.retry_after_s)}"
    return f"attempt {step.attempt} at {step.replica} failed: {step.label}{status}{again}"


def _refused(step: Refused) -> str:
    here = f"{step.here:,} waiting in {step.pool}, {step.equal:,} of its priority, {step.own:,} of its tenant"
    if step.label == "saturated":
        here = f"saturation {step.saturation:.2f}, {here}"
    return f"the queue of {step.pool} did not take it: {step.label} ({here}; {step.waiting:,} in all pools)"


def _barred(step: Barred) -> str:
    if step.label == "no_price":
        return f"a budget applies, and {step.what} has no price"
    if step.label == "limits_away":
        whose = f"the limit of {step.who} on {step.what}"
        return f"{whose} is shared, and its store is asked" if step.waits else f"the store of {whose} is away"
    held = f", {step.held:,g} of them held by calls in flight" if step.held and step.what != "calls at once" else ""
    text = f"the limit of {step.who} on {step.what} ({step.limit:,g}) does not let it pass: {step.used:,g} used{held}"
    if step.need != 1:
        text += f", {step.need:,g} needed"
    return f"{text}; it waits" if step.waits else text


def _given(step: Given) -> str:
    if step.how == "hit":
        return f"it gets an answer that was kept {seconds(step.age_s)} ago"
    if step.how == "similar":
        return (
            f"it gets an answer that was kept {seconds(step.age_s)} ago, to a question in other words ({step.of} alike)"
        )
    if step.how == "coalesced":
        return f"it gets the answer of the call {step.of}, which is the same"
    if step.how == "owner":
        return f"the client of the call {step.of}, which it has followed, has left: its attempts go on for this one"
    return "the answer that it was to get is not to be had: it is sent itself"


def told_of(step: Step) -> str:
    """One line."""
    match step:
        case Queued():
            return _queued(step)
        case Unqueued():
            return _unqueued(step)
        case Chosen():
            return _chosen(step)
        case Lost():
            return _lost(step)
        case Refused():
            return _refused(step)
        case Barred():
            return _barred(step)
        case Joined():
            return f"goes as one with {count(step.calls - 1, 'other')} of its kind ({step.group})"
        case LetIn():
            return "its limits let it pass"
        case Hedged():
            return WHY_HEDGED[step.what]
        case Stopped():
            return f"attempt {step.attempt} at {step.replica} is let go: the other one began first"
        case Paused():
            return f"pauses for {seconds(step.until - step.at)}: all replicas have failed it"
        case Denied():
            return f"no further attempt: {WHY_DENIED[step.why]}"
        case Given():
            return _given(step)
        case Moved(why="configuration"):
            return f"the configuration changed: it waits for {step.model or 'any model'} in {step.pool}"
        case Moved():
            return f"falls back to {step.model or 'any model'} in {step.pool}"
    return type(step).__name__


# ===== the paragraph =====


def tell(trail: Trail, steps: Sequence[Step], choices: Sequence[Choice]) -> str:
    """The whole in a few sentences."""
    said = [why(choices[-1])] if choices else []
    said += _of_queue(steps)
    failed = [f"attempt {step.attempt} at {step.replica} failed ({step.label})" for step in steps if type(step) is Lost]
    if failed:
        said.append(_sentence("; ".join(failed)))
    turns = Barred | Denied | Given | Hedged | Joined | LetIn | Moved | Refused | Stopped
    said += [_sentence(told_of(step)) for step in steps if isinstance(step, turns)]
    row = trail.row
    if not trail.over:
        said.append(f"It is still {row.outcome}, {seconds(row.latency_s)} after it arrived.")
    elif row.outcome != "ok":
        meaning = REFUSALS[row.outcome].message if row.outcome in REFUSALS else ""
        said.append(
            f"It ended as {row.outcome} (status {row.status}) after {seconds(row.latency_s)}: {meaning}".strip()
        )
    return " ".join(said) or "It was answered."


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _of_queue(steps: Sequence[Step]) -> list[str]:
    said: list[str] = []
    since: Queued | None = None
    for step in steps:
        if isinstance(step, Queued):
            since = step
        elif isinstance(step, Unqueued) and since is not None:
            said.append(_waited(since, step))
            since = None
    if since is not None:
        said.append(f"It waits in the queue of {since.pool}: {WHY_QUEUED[since.why]}; {_ahead(since)}.")
    return said


def _waited(since: Queued, until: Unqueued) -> str:
    how_long = seconds(until.at - since.at)
    text = f"It waited {how_long} in the queue of {since.pool}: {WHY_QUEUED[since.why]}; {_ahead(since)}."
    return f"{text} Meanwhile {passed(until)} got a seat{_out_of_turn(until)}."


def _ahead(step: Queued) -> str:
    if not step.waiting:
        return "nobody was ahead of it"
    account = "above" if step.lead > 0 else "below"
    fair = f"; its tenant's account stood {abs(step.lead):,.0f} {account} the pool's" if step.lead else ""
    ahead = f"{count(step.better, 'call')} of a higher priority and {step.equal:,} of its own waited before it"
    return f"{ahead}, {step.own:,} of them its tenant's{fair}"


def why(choice: Choice) -> str:
    """Why this replica."""
    name, note = choice.replica, choice.note
    if choice.how == "bond":
        text = f"{name} got it because its session was there before"
    elif choice.how == "ring":
        key = f"its key (the {note[1]})"
        mine = f"{name} got it because {key} belongs there"
        text = mine if note[0] == name else f"{name} got it: {key} belongs to {note[0]}, which was passed over"
    elif len(choice.candidates) == 1:
        text = f"{name} got it because it was the only one that could take it"
    elif choice.scorers and choice.picker in ("best", "nearest"):
        text = _by_score(choice) + (_by_region(choice) if choice.picker == "nearest" else "")
    elif len(note) == 4:
        text = f"{name} got it: of two that were drawn, {_cost(note[:2])} and {_cost(note[2:])}, it was the cheaper one"
    else:
        by = _LOTS.get(choice.picker, f"picked by {choice.picker}")
        text = f"{name} got it: {by} ({choice.strategy}, {choice.usable:,} usable)"
    if note and choice.how == "scores" and isinstance(note[-1], str):
        text += f"; {', '.join(map(str, note))} would have left nobody and was passed over"
    if choice.doubt:
        text += f"; it is not well ({choice.doubt}), but so few are that its pool panics and asks it all the same"
    if choice.left_out:
        pairs = tuple(part for one in choice.left_out for part in (one.replica, one.reason))
        text += f". Left out: {listed(pairs, choice.left_out_count)}"
    return f"{text}."


def _cost(pair: Sequence[Any]) -> str:
    return f"{pair[0]} (expected {seconds(float(pair[1]))})"


def _by_score(choice: Choice) -> str:
    mine = next(one for one in choice.candidates if one.chosen)
    other = next(one for one in choice.candidates if not one.chosen)
    total, next_total = mine.total or 0.0, other.total or 0.0
    if choice.tied > 1:
        by = "the lowest id decided" if choice.strategy in LOWEST_ID else "the lot fell on it"
        return f"{mine.replica} got it: {choice.tied:,} scored {total:.2f} alike, and {by}"
    weights = {one.name: one.weight for one in choice.scorers}
    gains = {name: weights[name] * (mine.scores[name] - other.scores[name]) for name in mine.scores}
    best = max(gains, key=gains.__getitem__, default="")
    sample = f" of a sample of {len(choice.candidates)}" if choice.usable > len(choice.candidates) + 32 else ""
    text = f"{mine.replica} got it because it scored highest{sample}, {_apart(total, next_total, other.replica)}"
    return f"{text}, mostly by {best}: {_apart(mine.scores[best], other.scores[best], 'the other')}" if best else text


def _by_region(choice: Choice) -> str:
    """The numbers of the one that was chosen, where regions were weighed."""
    origin, region, *numbers = choice.note
    names = REGIONAL.get(choice.scorers[0].name, ())
    told = ", ".join(f"{name} {float(number):,.0f}" for name, number in zip(names, numbers, strict=False))
    return f"; it is in {region or 'no region'}, the call comes from {origin or 'nowhere'}: {told}"


def _apart(mine: float, theirs: float, name: str) -> str:
    """Two numbers with as many digits as it takes to tell them apart."""
    digits = next((digits for digits in (2, 3, 4, 5) if round(mine, digits) != round(theirs, digits)), 6)
    return f"{mine:.{digits}f} ({name}: {theirs:.{digits}f})"
